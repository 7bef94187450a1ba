"""Evaluate data with a probe that was trained on other data."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch

from t2vgan.config import DataConfig
from t2vgan.data.manifest import check_compatible
from t2vgan.data.mixture import DatasetMixture, open_data
from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.evaluation.probe.build import add_accuracy, describe_clips, load_clips, shuffle_clips
from t2vgan.evaluation.probe.cache import share_probe
from t2vgan.evaluation.probe.network import extract_features
from t2vgan.evaluation.probe.probe import Probe
from t2vgan.evaluation.probe.targets import NUM_CANDIDATES, Targets, label_prompts, read_labels
from t2vgan.evaluation.real_clips import RealClips

MAX_LISTED = 5  # names in a message
REMEDY = "use probe_data with the same names, or leave it out"


def open_probe_data(config: DataConfig, data: DatasetMixture) -> DatasetMixture:
    """Open the training data of a probe for other data.

    Raises UserError if clips of both differ in size, length or frame rate, or a shard is in both.
    """
    probe_data, name = open_data(config), config.name
    check_compatible({f"probe_data={name}": probe_data.manifest, "the data": data.manifest})
    seen = {shard.sha256 for shard in probe_data.manifest.shards}
    shards = data.manifest.shards
    if same := [shard.name for shard in shards if shard.sha256 in seen]:
        raise UserError(
            f"probe_data={name}: {len(same)} of {len(shards)} shards of the data are in it too,"
            f" such as {same[0]}, but the probe must not have seen them; use other probe_data, or"
            " leave it out to train the probe on half of the clips"
        )
    return probe_data


def apply_probe(
    probe: Probe,
    data: DatasetMixture,
    *,
    name: str,
    context: DistributedContext,
    device: torch.device | str,
) -> Probe:
    """Return the probe with real clips of other data (collective).

    Network, head and standardisation are kept as trained on the data called `name`. All clips that
    are read (at most `probe.info.settings.num_clips`) count as held back.

    Raises:
        UserError: the probe cannot name the clips, or a sample is damaged.
    """

    def measure() -> Probe:
        loaded = load_clips(RealClips(data, probe.info.settings.num_clips))
        targets = match_targets(probe, loaded.prompts, loaded.labels, name)
        clips = shuffle_clips(range(len(loaded.prompts)), probe.info.settings)
        update = {
            "names": targets.names,
            "prompt_labels": targets.prompt_labels,
            **describe_clips(loaded, clips),
        }
        applied = replace(
            probe,
            info=probe.info.model_copy(update=update),
            features=extract_features(probe.network, loaded.frames[clips]),
        )
        indices = targets.of_clips(loaded.prompts, loaded.labels)
        return add_accuracy(applied, loaded.frames[clips], indices[clips])

    return share_probe(measure, context, device)


def match_targets(
    probe: Probe, prompts: Sequence[str], labels: Sequence[object], name: str
) -> Targets:
    """Return a probe's targets for N clips of other data.

    Classes are those of the probe, and must include those of all clips. Captions are those of the
    clips, because the right one is chosen among others of the same data.

    Raises UserError if the probe cannot name the clips.
    """
    trained, field = probe.targets, f"probe_data={name}"
    if trained.kind is None:
        raise UserError(f"{field}: the probe names nothing ({', '.join(trained.notes)}); {REMEDY}")
    if trained.kind == "caption":
        counts = Counter(prompts)
        if len(counts) < NUM_CANDIDATES:
            raise UserError(
                f"{field}: the probe finds the right one of {NUM_CANDIDATES} captions, but the data"
                f" has {len(counts)}; {REMEDY}"
            )
        names = tuple(sorted(counts, key=lambda prompt: (-counts[prompt], prompt)))
        _check_words(probe, names, field)
        return replace(trained, names=names)
    shown: Sequence[str] = prompts
    if trained.kind == "label":
        shown, problem = read_labels(labels)
        if not shown:
            raise UserError(
                f"{field}: the probe names labels ({_list(trained.names)}), but not all clips of"
                f" the data have one ({problem.partition(';')[0] or 'none has'}); {REMEDY}"
            )
        own = label_prompts(prompts, shown)
        trained = replace(trained, prompt_labels=trained.prompt_labels | own)
        unknown = Counter(label for label in shown if label not in set(trained.names))
    else:
        places = trained.of_prompts(prompts)
        unknown = Counter(p for p, place in zip(prompts, places, strict=True) if place < 0)
    if unknown:
        raise UserError(
            f"{field}: the probe names the {trained.kind}s {_list(trained.names)}, but"
            f" {sum(unknown.values())} of {len(shown)} clips of the data have others"
            f" ({_list(list(unknown))}); {REMEDY}"
        )
    return trained


def _check_words(probe: Probe, captions: Sequence[str], field: str) -> None:
    """Raise UserError if a caption has no word that the probe knows."""
    strange = [text for text in captions if not probe.vocabulary.knows_any_of(text)]
    if strange:
        raise UserError(
            f"{field}: the probe knows no word of {len(strange)} of {len(captions)} captions of the"
            f" data, such as {strange[0]!r:.80}; {REMEDY}"
        )


def _list(names: Sequence[str]) -> str:
    """Format the first names."""
    more = [f"and {len(names) - MAX_LISTED} more"] if len(names) > MAX_LISTED else []
    return ", ".join([*(repr(name)[:60] for name in names[:MAX_LISTED]), *more])
