"""Build the charts of a run's numbers."""

from collections.abc import Sequence

from t2vgan.report.charts import Chart, Plot, build_plot
from t2vgan.report.formatting import format_count, format_duration
from t2vgan.report.records import Run
from t2vgan.utils.records import CLOCKS, Record, get_number

EVALUATION_CHARTS = (
    Chart(
        "Prompt accuracy",
        {"accuracy": "training prompts", "accuracy_held_out": "held-out prompts"},
        unit="%",
        low=0,
        high=1,
    ),
    Chart("Frames with exactly one object", {"one_object": "one object"}, unit="%", high=1),
    Chart(
        "Spread of clips of one prompt",
        {"spread.start": "start", "spread.size": "size", "spread.speed": "path length"},
        unit="of the frame",
        low=0,
    ),
    Chart("Drift of area within a clip", {"steadiness.area": "drift"}, unit="%", low=0),
    Chart("Drift of shape within a clip", {"steadiness.shape": "drift"}, low=0),
    Chart("Distance from the ideal path", {"path_residual": "distance"}, unit="pixels", low=0),
    Chart("Diversity, 1 is that of real clips", {"diversity": "diversity"}, low=0, high=1),
    Chart(
        "Text-video agreement",
        {
            "clip_numbers.agreement.accuracy": "generated clips",
            "clip_numbers.agreement.real": "real clips",
            "clip_numbers.agreement.real_prompts_shuffled": "prompts shuffled",
        },
        unit="%",
        low=0,
        high=1,
    ),
    Chart(
        "Diversity within a prompt, 1 is that of real clips",
        {
            "clip_numbers.diversity_pixels": "pixels",
            "clip_numbers.diversity_features": "features",
        },
        low=0,
        high=1,
    ),
    Chart(
        "Frechet distance of the probe's features",
        {
            "clip_numbers.frechet.generated": "generated clips",
            "clip_numbers.frechet.floor": "between real clips",
        },
        low=0,
    ),
    Chart(
        "Motion energy, 1 is that of real clips",
        {"clip_numbers.motion_energy": "motion energy"},
        low=0,
        high=1,
    ),
    Chart(
        "Variation of speed within a clip",
        {
            "clip_numbers.speed_variation": "generated clips",
            "clip_numbers.speed_variation_real": "real clips",
        },
        low=0,
    ),
)
VARIETY_CHARTS = (
    Chart(
        "Differences between prompts and between seeds, 1 is that of real clips",
        {"prompts": "prompts", "seeds": "seeds"},
        low=0,
        high=1,
    ),
)
TRAIN_CHARTS = (
    Chart(
        "Loss",
        {
            "loss/discriminator": "discriminator",
            "loss/generator": "generator",
            "loss/mismatched": "mismatched prompts",
        },
    ),
    Chart("Logits", {"logits/real": "real", "logits/fake": "fake"}),
    Chart("Gradient of the loss with respect to pixels", {"gradient_norm/video": "norm"}, log=True),
    Chart("Gradient penalty", {"penalty": "penalty"}, log=True),
    Chart("Weight of the penalty, gamma", {"gamma": "gamma"}, low=0),
    Chart(
        "Learning rate",
        {"lr/generator": "generator", "lr/discriminator": "discriminator"},
        low=0,
    ),
    Chart("Half-life of averaged weights", {"ema/halflife": "half-life"}, unit="clips", low=0),
    Chart("Adam's beta2", {"beta2": "beta2"}),
    Chart("Latent recovery loss", {"recovery/loss": "loss"}),
    Chart("Mode-seeking loss", {"mode_seeking/loss": "loss"}, log=True),
    Chart("Weight of latent recovery", {"recovery/weight": "weight"}, low=0),
    Chart("Camera variation", {"camera/std": "std"}, low=0),
    Chart("Throughput", {"clips_per_second": "throughput"}, unit="clips/s", low=0),
    Chart("Peak memory", {"memory_gb": "memory"}, unit="GB", low=0),
    Chart("Bad samples replaced", {"data/bad_samples": "bad samples"}, low=0, high=5),
    Chart("Steps not applied", {"bad_steps": "steps"}, low=0, high=5),
    Chart("Time spent on saving and status", {"safety_seconds": "time"}, unit="s", low=0),
)


def build_curves(run: Run) -> list[Plot]:
    """Plot every number against clips seen, the most important first."""
    return [
        *build_plots(run.evaluations, EVALUATION_CHARTS),
        *build_plots(run.variety, VARIETY_CHARTS),
        *build_plots(run.train, TRAIN_CHARTS),
        *build_plots(run.train, _charts_of_unknown_keys(run.train)),
    ]


def build_plots(records: Sequence[Record], charts: Sequence[Chart]) -> list[Plot]:
    """Plot each chart for which the records hold any numbers."""
    x = [record["clips_seen"] for record in records]
    notes = [
        f"step {format_count(record['step'])}, {format_count(record['clips_seen'])} clips, "
        f"{format_duration(record['seconds'])}"
        for record in records
    ]
    plots = []
    for chart in charts:
        columns = {
            name: [get_number(record, key) for record in records]
            for key, name in chart.names.items()
        }
        series = {name: values for name, values in columns.items() if set(values) - {None}}
        if series:
            plots.append(build_plot(chart, x, series, notes))
    return plots


def _charts_of_unknown_keys(records: Sequence[Record]) -> list[Chart]:
    """Return a chart for each number that no chart above shows."""
    known = {*CLOCKS, "wall_time"}.union(*(chart.names for chart in TRAIN_CHARTS))
    keys = dict.fromkeys(key for record in records for key in record if key not in known)
    return [Chart(key, {key: key}) for key in keys]
