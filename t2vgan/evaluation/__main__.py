"""`python -m t2vgan.evaluation`: score weights by the motion meter and write a record."""

from pathlib import Path

from t2vgan import cli


def evaluation(
    *,
    weights: Path,
    data: Path,
    num_clips: int = 2000,
    out: Path = Path("evaluation.json"),
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Say in numbers whether generated videos do what their prompts say.

    Args:
        weights: weights file, or a run folder (its best weights)
        data: folder of shards: its prompts, and its real clips for the ceiling and the controls
        num_clips: clips to generate, dealt evenly to the training and held-out prompts
        out: file for the record
        seed: seed of the generated clips and of the controls
        device: auto, cpu, cuda, cuda:1, ...
    """
    from t2vgan.evaluation.evaluate import evaluate  # torch: not before the options are right
    from t2vgan.evaluation.table import format_evaluation
    from t2vgan.files import atomic_write_bytes

    result = evaluate(weights, data, num_clips=num_clips, seed=seed, device=device)
    atomic_write_bytes(out, result.model_dump_json(indent=2).encode() + b"\n")
    print(format_evaluation(result))
    print(f"\n{out} written")


def main() -> None:
    cli.call(evaluation, prog="python -m t2vgan.evaluation")


if __name__ == "__main__":
    cli.run(main)
