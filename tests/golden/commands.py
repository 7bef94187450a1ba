"""Run the project's commands such that any x86-64 machine should compute the same bits.

The libraries are held to code that every such processor runs, on one thread.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
DATA_FORMAT_1 = HERE / "data_format_1"
RUN_FORMAT_1 = HERE / "run_dir_format_1"
INTERRUPTED_AT = 6

Arguments = tuple[object, ...]

PINS = {
    "ACCELERATE_USE_CPU": "true",
    "ATEN_CPU_CAPABILITY": "default",
    "CUDA_VISIBLE_DEVICES": "",
    "MKL_CBWR": "COMPATIBLE",
    "MKL_NUM_THREADS": "1",
    # What a processor or NumPy does not know of these it passes over, with a warning.
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"
    " AVX512_SPR X86_V4",
    "OMP_NUM_THREADS": "1",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT),
    "PYTHONWARNINGS": "ignore::ImportWarning",
}
OTHERS_VARIABLES = ("ACCELERATE_", "WANDB_", "PYTEST_", "SLURM_", "TORCHELASTIC_")
OF_LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")

TINY_MODEL = (
    "--model.channels", 4, "--model.hidden-size", 16, "--model.text-size", 8,
    "--model.latent-size", 4, "--train.recovered-latents", 2,
)  # fmt: skip
TINY_RUN = (
    "--train.precision", "no", "--data.num-streams", 4, "--num-cpu-threads", 1,
    "--log-every-steps", 1, "--save-every-steps", INTERRUPTED_AT, "--sample-every-steps", 0,
)  # fmt: skip
RECIPE = (  # of the preset `quickstart` when the goldens were recorded
    "--train.gamma-end", 2, "--train.mismatched-prompts", 1, "--train.recovery-weight", 3,
    "--train.recovery-hold", None, "--model.no-moments", "--train.recovery-until", 1,
)  # fmt: skip
CASES: dict[str, tuple[str, Path | None, Arguments]] = {
    "sprites": (  # relativistic, penalties, hard mismatched prompts, a camera, the motion meter
        "shapes-cpu", None,
        (
            *TINY_MODEL, *TINY_RUN, "--model.pixel-channels", 4, "--train.num-steps", 12,
            "--train.global-batch-size", 8, "--train.frames-per-clip", 3,
            "--train.penalty-every-steps", 2, "--train.gamma-start", 200,
            "--evaluate-every-steps", 12, "--evaluate-num-clips", 20,
        ),
    ),
    "notebook": (  # its own networks, binary cross-entropy, no penalty, the same latents twice
        "notebook", None,
        (*TINY_RUN, "--train.num-steps", 4, "--train.global-batch-size", 4,
         "--evaluate-every-steps", 0),
    ),
    "micro-batches": (  # frames of reference, word order, micro-batches, non-saturating
        "quickstart", DATA_FORMAT_1,
        (
            *TINY_MODEL, *TINY_RUN, *RECIPE, "--model.text-encoder", "transformer",
            "--model.text-size", 16, "--train.num-steps", 12, "--train.global-batch-size", 8,
            "--train.micro-batch-size", 2, "--train.frames-per-clip", 3, "--train.seed", 3,
            "--train.loss", "non_saturating", "--train.penalty-every-steps", 3,
            "--evaluate-every-steps", 0,
        ),
    ),
}  # fmt: skip
"""Name -> preset, data that are stored here (else of the scene in SCENE_OF), options."""
CURVE: Arguments = (
    *TINY_MODEL, *TINY_RUN, *RECIPE, "--log-every-steps", 15, "--save-every-steps", 300,
    "--train.num-steps", 300, "--train.global-batch-size", 4, "--train.frames-per-clip", 2,
    "--train.penalty-every-steps", 4, "--evaluate-every-steps", 0,
)  # fmt: skip
"""Options of a run of 300 steps of DATA_FORMAT_1, whose losses are a golden."""
RELATIVISTIC = {"sprites"}
SCENE_OF = {"sprites": ("shapes", "32x32"), "notebook": ("notebook", "64x64")}

SCENES = ("circles", "notebook", "shapes", "shapes-textured", "shapes-two")
VIDEOS: dict[str, tuple[str | Path, Arguments]] = {
    "circles": ("circles", ("circle rotating clockwise", "circle moving up-right")),
    "shapes": ("shapes", ("a small red circle moving up", "a small red star moving right")),
    "run_dir_format_1": (RUN_FORMAT_1, ("circle moving up-right",)),
}
"""Name -> weights, prompts; the last prompt of each was held out from training."""


def environment() -> dict[str, str]:
    """Return this process's variables without those of launchers, and the pins."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(OTHERS_VARIABLES) and name not in OF_LAUNCHERS
    }
    return kept | PINS


def python(*arguments: object, timeout: float = 300) -> str:
    """Run Python with arguments from the repository root; return its output, or fail with it."""
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert result.returncode == 0, f"{arguments}:\n{result.stdout}{result.stderr}"
    return result.stdout


def build(scene: str, out: Path, *, size: str, num_clips: int, num_frames: int = 4) -> Path:
    """Build a small data set and return its folder."""
    python(
        "-m", "data_tools.build_shards", scene, "--out", out, "--num-clips", num_clips,
        "--clips-per-shard", num_clips // 4, "--num-frames", num_frames, "--size", size,
        "--workers", 1,
    )  # fmt: skip
    return out


def build_scene(scene: str, out: Path) -> Path:
    """Build the data set whose bytes are a golden."""
    return build(scene, out, size="32x48", num_clips=40)


def data_of(case: str, out: Path) -> Path:
    """Return a case's data, built in `out` unless they are stored here."""
    _, stored, _ = CASES[case]
    if stored is not None:
        return stored
    scene, size = SCENE_OF[case]
    return build(scene, out, size=size, num_clips=32)


def training(case: str, data: Path, run_dir: Path) -> Arguments:
    """Return the arguments of a case's training command, after the interpreter."""
    preset, _, options = CASES[case]
    return ("train.py", preset, "--data.path", data, "--run-dir", run_dir, *options)


def train_curve(run_dir: Path) -> None:
    """Train the 300 steps."""
    data = ("--data.path", DATA_FORMAT_1, "--run-dir", run_dir)
    python("train.py", "quickstart", *data, *CURVE, timeout=1200)


def launcher(world_size: int) -> Arguments:
    """Return what starts several processes, on a free port."""
    return ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", world_size)


def generate(name: str, out: Path) -> list[Path]:
    """Draw a video of each prompt of VIDEOS[name]; return their files."""
    weights, prompts = VIDEOS[name]
    options = [part for prompt in prompts for part in ("--prompt", prompt)]
    python("generate.py", "--weights", weights, *options, "--device", "cpu", "--out", out)
    return sorted(out.glob("*.gif"))


def train_and_kill(case: str, data: Path, run_dir: Path) -> None:
    """Start a run and kill it as soon as its checkpoint of step INTERRUPTED_AT is there."""
    checkpoints = run_dir / "checkpoints"
    process = subprocess.Popen(
        [sys.executable, *map(str, training(case, data, run_dir))],
        cwd=ROOT,
        env=environment(),
    )
    try:
        while not (checkpoints / f"step_{INTERRUPTED_AT:08d}").exists():
            assert process.poll() is None, "it ended before its checkpoint"
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait()
    assert len(list(checkpoints.glob("step_*"))) == 1, "killed too late; record again"
