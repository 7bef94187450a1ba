"""Train a probe of some data: `python -m t2vgan.evaluation.probe`."""

from pathlib import Path

from t2vgan.errors import UserError
from t2vgan.utils import cli
from t2vgan.utils.console import print_stdout
from t2vgan.utils.frozen import naming_faults


def train_probe(
    *,
    data: Path,
    out: Path,
    num_clips: int = 8000,
    num_steps: int = 1250,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Train a small network to name what real clips show.

    `t2vgan evaluate` trains one itself; this command writes one to a file that several can share.

    Args:
        data: folder or URL of shards; the probe names the `label` in the samples' json, without
            labels their prompt, or if prompts are many the right one among 32
        out: file for the probe, to be given with --features
        num_clips: maximal number of real clips: one half trains, the other is held back
        num_steps: maximal number of training steps
        seed: seed of the initial weights and of the order of clips
        device: auto, cpu, cuda, cuda:1, ...
    """
    if num_steps < 1 or num_clips < 1:
        name, value = ("num_steps", num_steps) if num_steps < 1 else ("num_clips", num_clips)
        raise UserError(f"{name}={value} must be at least 1")
    # These import torch, which --help does not need.
    from t2vgan.config import DataConfig
    from t2vgan.data.mixture import open_data
    from t2vgan.distributed.context import DistributedContext
    from t2vgan.distributed.device import parse_device
    from t2vgan.evaluation.probe.build import build_probe
    from t2vgan.evaluation.probe.probe import ProbeSettings, save_probe
    from t2vgan.evaluation.real_clips import RealClips

    target = parse_device(device, DistributedContext(mode="train a probe"))
    with naming_faults():
        config = DataConfig(path=str(data))
    clips = RealClips(open_data(config), num_clips)
    settings = ProbeSettings(num_clips=num_clips, num_steps=num_steps, seed=seed)
    probe = build_probe(clips, settings, target)
    save_probe(out, probe)
    for note in probe.info.notes:
        print_stdout(f"note: {note}")
    if (accuracy := probe.info.real.accuracy) is not None:
        real = probe.info.real
        print_stdout(f"names the {probe.info.kind} of real clips that it was not trained on:")
        print_stdout(f"{accuracy:7.1%} of {len(probe.info.prompts)}")
        print_stdout(f"{real.accuracy_prompts_shuffled:7.1%} with prompts shuffled")
        print_stdout(f"{real.accuracy_frames_shuffled:7.1%} with frames shuffled")
    print_stdout(f"{out} written")


def main() -> None:
    cli.call(train_probe)


if __name__ == "__main__":
    cli.run(main)
