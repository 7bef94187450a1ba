"""Write a model folder: weights, description, model card and a sample film."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from t2vgan.checkpoint.weights import MODEL_NAME, WeightsInfo, save_weights
from t2vgan.errors import UserError
from t2vgan.media import contact_sheet, save_clip
from t2vgan.utils.files import atomic_write_bytes
from t2vgan.utils.frozen import naming_faults
from t2vgan.utils.sequences import choose_evenly, choose_examples
from t2vgan.utils.untrusted import JsonError, read_json

if TYPE_CHECKING:
    from t2vgan.pipeline.text_to_video import TextToVideo

CARD_NAME, CONFIG_NAME, SAMPLE_NAME = "README.md", "config.json", "sample.gif"
LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}")
MAX_FILM_FRAMES = 64
MAX_LISTED_PROMPTS = 20
MAX_PROMPT_LENGTH = 120
NUM_SHOWN, NUM_SHOWN_HELD_OUT = 6, 3  # prompts in the film
SHOWN_HEIGHT = 128  # height up to which clips in the film are enlarged


class Part(BaseModel):
    """The fields of a record that the card shows; others are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class EvaluatedWeights(Part):
    """The protocol of an evaluation."""

    version: str
    weights_step: NonNegativeInt | None
    weights_clips_seen: NonNegativeInt | None
    num_clips: NonNegativeInt
    seed: int


class MeterScores(Part):
    """Scores of the meter, as fractions."""

    accuracy: float | None
    accuracy_held_out: float | None
    one_object: float | None


class RelativeScores(Part):
    """Scores relative to those of real clips."""

    diversity: float | None


class EvaluationSummary(Part):
    """The numbers of an evaluation record that a model card shows."""

    protocol: EvaluatedWeights
    generated: MeterScores | None
    relative_to_real: RelativeScores | None


def write_model_folder(
    folder: Path, pipe: "TextToVideo", *, evaluation: Path | str | None, license: str | None
) -> None:
    """Write a folder for `TextToVideo.from_pretrained`; each file is written atomically.

    Raises:
        UserError: the evaluation is of other weights or not a valid record, or the folder is a
            file.
        OSError: writing failed.
    """
    if license is not None and not LICENSE.fullmatch(license):
        raise UserError(f"license={license!r}: must be an identifier such as apache-2.0")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose another model folder")
    summary = None if evaluation is None else read_evaluation(evaluation, pipe.info)
    save_sample_film(folder / SAMPLE_NAME, pipe)
    card = format_card(pipe.info, summary, license)
    atomic_write_bytes(folder / CARD_NAME, card.encode("utf-8", "replace"))
    config = pipe.info.model_dump_json(indent=2) + "\n"
    atomic_write_bytes(folder / CONFIG_NAME, config.encode("utf-8", "replace"))
    save_weights(folder / MODEL_NAME, pipe.generator.state_dict(), pipe.info)


def read_evaluation(path: Path | str, info: WeightsInfo) -> EvaluationSummary:
    """Read the record of an evaluation of these weights.

    Raises:
        UserError: it is of other weights, or not a record written by `t2vgan evaluate`.
    """
    remedy = "use a record of t2vgan evaluate"
    try:
        with naming_faults(f"evaluation {path}", remedy):
            summary = EvaluationSummary.model_validate(read_json(path))
    except JsonError as error:
        raise UserError(f"evaluation {error}; {remedy}") from None
    evaluated = summary.protocol.weights_step, summary.protocol.weights_clips_seen
    if evaluated != (info.step, info.clips_seen):
        raise UserError(
            f"evaluation {path} is of weights of step {evaluated[0]} ({evaluated[1]} clips), but"
            f" these are of step {info.step} ({info.clips_seen} clips); evaluate these"
        )
    return summary


def save_sample_film(path: Path, pipe: "TextToVideo") -> None:
    """Save a film of some prompts, with held-out ones last."""
    info = pipe.info
    prompts = choose_examples(info.prompts, info.held_out_prompts, NUM_SHOWN, NUM_SHOWN_HELD_OUT)
    num_frames = min(info.num_frames, MAX_FILM_FRAMES)
    videos = pipe(prompts, num_frames=num_frames, allow_unknown=True)
    scale = max(1, SHOWN_HEIGHT // info.height)
    save_clip(path, contact_sheet(videos.frames, prompts, columns=3, scale=scale), fps=info.fps)


def format_card(info: WeightsInfo, summary: EvaluationSummary | None, license: str | None) -> str:
    """Format the model card: Hub tags, usage, training, scores, prompts."""
    clips = f"{info.num_frames} frames of {info.height}x{info.width}, {info.fps:g} per second"
    tags = ["text-to-video", "gan", "t2vgan", info.model.kind.replace("_", "-")]
    example = json.dumps(plain(info.prompts[0]), ensure_ascii=False)
    listed, coder = choose_evenly(info.prompts, MAX_LISTED_PROMPTS), info.text_encoder
    lines = [
        "---",
        "library_name: t2vgan",
        "pipeline_tag: text-to-video",
        *([f"license: {license}"] if license else []),
        "tags:",
        *(f"- {tag}" for tag in tags),
        "---",
        "",
        "# A text-to-video GAN",
        "",
        f"![Generated clips of some of its prompts]({SAMPLE_NAME})",
        "",
        "```python",
        "from t2vgan import TextToVideo",
        "",
        'pipe = TextToVideo.from_pretrained("owner/name")  # or a copy of this folder',
        f'pipe({example}, num_videos=4).save("video.mp4")',
        "```",
        "",
        "| | |",
        "|---|---|",
        f"| clips | {clips} |",
        f"| model | {info.model.kind} |",
        *([f"| words by | {plain(coder.name)}, SHA-256 {plain(coder.sha256)} |"] if coder else []),
        f"| training | {info.step:,} steps, {info.clips_seen:,} clips |",
        f"| words | {len(info.words):,}; prompts with others are read as the nearest known one |",
        f"| prompts | {len(info.prompts):,} trained, {len(info.held_out_prompts):,} held out |",
        f"| written by | t2vgan {plain(info.t2vgan_version)} |",
        "",
        "## Evaluation",
        "",
        *(["Not evaluated."] if summary is None else format_numbers(summary)),
        "",
        "## Prompts",
        "",
        *(f"- `{plain(prompt)}`" if prompt else '- none: `""`' for prompt in listed),
    ]
    return "\n".join(lines) + "\n"


def format_numbers(summary: EvaluationSummary) -> list[str]:
    """Format an evaluation as the lines of a table."""
    protocol, scores, relative = summary.protocol, summary.generated, summary.relative_to_real
    shares = {
        "correct, training prompts": scores and scores.accuracy,
        "correct, held-out prompts": scores and scores.accuracy_held_out,
        "frames with one object": scores and scores.one_object,
    }
    rows = {name: "-" if share is None else f"{share:.1%}" for name, share in shares.items()}
    diversity = relative and relative.diversity
    rows["diversity, relative to real clips"] = "-" if diversity is None else f"{diversity:.2f}"
    return [
        f"`t2vgan evaluate` on {protocol.num_clips:,} clips, seed {protocol.seed}, protocol"
        f" {plain(protocol.version)}:",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows.items()),
    ]


def plain(text: str) -> str:
    """Return untrusted text as one short line without Markdown syntax."""
    shown = "".join(c if c.isprintable() and c not in "`|<>&" else "?" for c in text)
    return shown[:MAX_PROMPT_LENGTH]
