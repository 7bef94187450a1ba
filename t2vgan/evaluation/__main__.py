"""`python -m t2vgan.evaluation`: score weights, or a folder of videos, and write a record."""

from pathlib import Path

from pydantic import ValidationError

from t2vgan.config import DataConfig
from t2vgan.errors import UserError
from t2vgan.utils import cli
from t2vgan.utils.frozen import format_faults


def evaluation(
    *,
    data: Path | None = None,
    mix: tuple[str, ...] = (),
    weights: Path | None = None,
    videos: Path | None = None,
    num_clips: int | None = None,
    out: Path = Path("evaluation.json"),
    seed: int = 0,
    device: str = "auto",
    features: Path | None = None,
    fvd_weights: Path | None = None,
) -> None:
    """Say in numbers whether videos do what their prompts say: those of weights, or of a folder.

    Start it with torchrun or accelerate launch to share the work: the numbers stay the same.

    Args:
        data: folder or URL of shards: its prompts, and its real clips for ceiling and controls
        mix: instead, several with their shares, as weights were trained: data/cats=3 data/dogs=1
        weights: weights file, or a run folder (its best weights), that draws the clips
        videos: folder of GIF, MP4, AVI, WebP or PNG that any system wrote (docs/evaluation.md)
        num_clips: clips that weights draw (default 2,000); of too many prompts, half are held out
        out: file for the record; some of the clips go beside it, into NAME-clips.png
        seed: seed of the drawn clips and of the controls
        device: auto, cpu, cuda, cuda:1, ...
        features: classifier for the distances (default: the one that comes with t2vgan)
        fvd_weights: TorchScript I3D of yours, for FVD; it is a program, so trust it
    """
    if (data is None) != bool(mix):
        raise UserError("give either data (a folder or URL) or mix (several, each =WEIGHT)")
    try:
        read = DataConfig(mix=mix) if data is None else DataConfig(path=str(data))
    except ValidationError as error:
        raise UserError(format_faults(error)) from None
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file")
    from t2vgan.distributed.context import (
        DistributedContext,  # torch: not before the options are right
    )
    from t2vgan.evaluation.distribution.feature_network import SHIPPED
    from t2vgan.evaluation.evaluate import evaluate
    from t2vgan.evaluation.table import format_evaluation
    from t2vgan.utils.files import atomic_write_bytes

    processes = DistributedContext()
    result = evaluate(
        weights,
        read,
        videos=videos,
        num_clips=num_clips,
        seed=seed,
        device=device,
        features=features or SHIPPED,
        fvd_weights=fvd_weights,
        picture=out.with_name(f"{out.name.removesuffix('.json')}-clips.png"),
        processes=processes,
    )
    if processes.is_main:
        print(format_evaluation(result))
        atomic_write_bytes(out, result.model_dump_json(indent=2).encode() + b"\n")
        print(f"\n{out}{f' and {result.shown.file}' if result.shown else ''} written")
    processes.shutdown()


def main() -> None:
    cli.call(evaluation, prog="python -m t2vgan.evaluation")


if __name__ == "__main__":
    cli.run(main)
