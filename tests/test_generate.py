"""Run generate.py as users do: real processes, tiny random weights."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2vgan.checkpoint.weights import WeightsInfo, list_shipped_weights, load_weights, save_weights
from t2vgan.config import ClipGanConfig
from t2vgan.media import load_clip
from t2vgan.models import build_generator
from t2vgan.tokenizer import Vocabulary
from tests.support.warm import run_warm

ROOT = Path(__file__).parents[1]
PRETRAINED = ("circles", "shapes", "shapes-two", "actions")
MODEL = ClipGanConfig(latent_size=4, text_size=8, hidden_size=16, channels=4, patch_size=2)
PROMPTS = ("circle moving up-right", "circle moving down", "circle shrinking")
HEIGHT, WIDTH, NUM_FRAMES = 16, 24, 5
FORMATS = ("gif", "mp4", "avi", "webp", "png")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run folder that holds weights and nothing else."""
    folder = tmp_path_factory.mktemp("run")
    vocabulary = Vocabulary.from_prompts(PROMPTS)
    torch.manual_seed(0)
    generator = build_generator(MODEL, height=HEIGHT, width=WIDTH, vocabulary_size=len(vocabulary))
    info = WeightsInfo(
        model=MODEL,
        num_frames=NUM_FRAMES,
        height=HEIGHT,
        width=WIDTH,
        fps=10,
        words=vocabulary.words,
        prompts=PROMPTS,
        held_out_prompts=(),
        step=1,
        clips_seen=16,
        t2vgan_version="0",
    )
    save_weights(folder / "weights.safetensors", generator.state_dict(), info)
    return folder


@pytest.mark.parametrize("name", ["generate", "demo", "export", "evaluate"])
def test_help_lists_the_shipped_weights(name):
    assert set(PRETRAINED) == set(list_shipped_weights())
    help_text = run_warm("-m", "t2vgan", name, "--help").stdout
    words = " ".join(help_text.replace("\u2502", " ").split())
    assert f"({', '.join(PRETRAINED)})" in words


def command(*arguments):
    return [sys.executable, str(ROOT / "generate.py"), *map(str, arguments)]


def run_cold(*arguments, threads=1, **options):
    """Run the command itself, as a shell would."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    options |= {"capture_output": True, "text": True, "timeout": 120, "env": environment}
    return subprocess.run(command(*arguments), check=False, **options)


def run(*arguments, **options):
    """Run the command in its own process, with PyTorch imported already."""
    return run_warm("generate.py", *arguments, **options)


def succeed(*arguments, run=run, **options):
    result = run(*arguments, **options)
    assert result.returncode == 0, result.stderr
    return result


def files_in(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def videos(run_dir, tmp_path_factory):
    """Two prompts, two seeds, every format: (files, result)."""
    out = tmp_path_factory.mktemp("out") / "new" / "folder"
    prompts = ("--prompt", PROMPTS[0], "--prompt", PROMPTS[1])
    numbers = ("--num-videos", 2, "--seed", 7)
    where = ("--weights", run_dir, "--out", out, "--format", ",".join(FORMATS))
    result = succeed(*prompts, *numbers, *where, run=run_cold)
    return out, result


def test_every_prompt_seed_and_format_has_its_file(videos):
    out, _ = videos
    stems = [
        f"{slug}-{s}" for slug in ("circle-moving-up-right", "circle-moving-down") for s in (7, 8)
    ]
    expected = {f"{stem}.{format}" for stem in stems for format in FORMATS if format != "png"}
    expected |= {f"{stem}/frame_{i}.png" for stem in stems for i in range(NUM_FRAMES)}
    assert set(files_in(out)) == expected


def test_all_formats_show_the_same_clip(videos):
    out, _ = videos
    stem = out / "circle-moving-down-8"
    frames = load_clip(f"{stem}.webp")
    assert frames.shape == (NUM_FRAMES, HEIGHT, WIDTH, 3)
    for index, picture in enumerate(frames):
        np.testing.assert_array_equal(np.asarray(Image.open(stem / f"frame_{index}.png")), picture)
    for format in ("gif", "mp4", "avi"):
        loaded = load_clip(f"{stem}.{format}")
        assert loaded.shape == frames.shape
        assert abs(loaded.astype(int) - frames).mean() < 30  # random weights draw noise
    assert (frames != load_clip(out / "circle-moving-down-7.webp")).any()
    assert (frames != load_clip(out / "circle-moving-up-right-8.webp")).any()


def test_the_end_says_where_the_files_are(videos):
    out, result = videos
    lines = result.stdout.splitlines()
    assert lines[0] == str(out / "circle-moving-up-right-7.gif")
    assert lines[-1] == f"... and 14 more in {out}"


def test_a_single_video_has_the_same_bytes(videos, run_dir, tmp_path):
    out, _ = videos
    weights = run_dir / "weights.safetensors"
    what = ("--prompt", PROMPTS[1], "--seed", 8, "--format", "png,webp,avi,mp4,gif")
    result = succeed(*what, "--weights", weights, "--out", tmp_path, run=run_cold, threads=2)
    single = files_in(tmp_path)
    assert len(single) == 4 + NUM_FRAMES
    among_others = files_in(out)
    assert single == {name: among_others[name] for name in single}
    assert result.stdout.splitlines()[-1] == str(tmp_path / "circle-moving-down-8.gif")


def test_more_frames_at_another_rate(run_dir, tmp_path):
    what = ("--prompt", PROMPTS[0], "--num-frames", 9, "--fps", 25, "--format", "webp,gif")
    succeed(*what, "--weights", run_dir, "--out", tmp_path)
    frames = load_clip(tmp_path / "circle-moving-up-right-0.webp")
    assert frames.shape == (9, HEIGHT, WIDTH, 3)
    with Image.open(tmp_path / "circle-moving-up-right-0.gif") as animation:
        assert animation.n_frames == 9
        assert animation.info["duration"] == 40


def test_larger_frames_of_the_same_video(run_dir, tmp_path):
    what = ("--prompt", PROMPTS[0], "--weights", run_dir, "--format", "webp")
    succeed(*what, "--out", tmp_path / "drawn")
    drawn = load_clip(tmp_path / "drawn" / "circle-moving-up-right-0.webp")
    for options, size in {
        ("--scale", 3, "--resample", "nearest"): (48, 72),
        ("--height", 40): (40, 60),
    }.items():
        result = succeed(*what, *options, "--out", tmp_path / "large")
        large = load_clip(tmp_path / "large" / "circle-moving-up-right-0.webp")
        assert large.shape == (NUM_FRAMES, *size, 3)
        assert f"generated at 16x24, resized to {size[0]}x{size[1]} (" in result.stderr
        if "nearest" in options:
            np.testing.assert_array_equal(large[:, ::3, ::3], drawn)


def test_frames_too_large_to_save_are_refused_before_any_file(run_dir, tmp_path):
    what = ("--prompt", PROMPTS[0], "--weights", run_dir, "--out", tmp_path / "out")
    assert_one_line(run(*what, "--scale", 2000), "5 frames of 32000x48000 are too large")
    assert not (tmp_path / "out").exists()


def test_truncated_videos_of_a_prompt_are_alike(run_dir, tmp_path):
    what = ("--prompt", PROMPTS[0], "--weights", run_dir, "--num-videos", 2)
    succeed(*what, "--truncation", 0, "--out", tmp_path)
    first, second = files_in(tmp_path).values()
    assert first == second


def test_prompts_file(run_dir, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text(f"\ufeff{PROMPTS[0]}\n\n  {PROMPTS[2]}  \n{PROMPTS[0]}\n", encoding="utf-8")
    out = tmp_path / "out"
    what = ("--prompts-file", prompts, "--prompt", PROMPTS[1])
    result = succeed(*what, "--weights", run_dir, "--out", out)
    assert "1 repeated" in result.stderr
    expected = {"circle-moving-down-0", "circle-moving-up-right-0", "circle-shrinking-0"}
    assert set(files_in(out)) == {f"{stem}.gif" for stem in expected}


def test_unknown_words_can_be_passed_over(run_dir, tmp_path):
    prompts = ("--prompt", "a circle slowly shrinking", "--prompt", PROMPTS[2])
    succeed(*prompts, "--allow-unknown", "--weights", run_dir, "--out", tmp_path)
    files = files_in(tmp_path)
    assert files["a-circle-slowly-shrinking-0.gif"] == files["circle-shrinking-0.gif"]


def test_a_prompt_in_other_words_is_read_as_the_nearest_of_training(run_dir, tmp_path):
    typed = "a ball that gets smaller"
    result = succeed(
        "--prompt",
        typed,
        "--prompt",
        "the circle, shrinking",
        "--weights",
        run_dir,
        "--out",
        tmp_path,
    )
    files = files_in(tmp_path)
    assert files["a-ball-that-gets-smaller-0.gif"] == files["the-circle-shrinking-0.gif"]
    (warning,) = [line for line in result.stderr.splitlines() if "warning" in line]
    assert warning == (
        f'warning: prompt "{typed}" is read as "circle shrinking" (nearest training prompt)'
    )


def test_without_weights_it_uses_those_that_come_with_t2vgan(tmp_path):
    held_out = "circle moving up-right"
    succeed("--prompt", held_out, "--format", "gif,webp", "--out", tmp_path)
    frames = load_clip(tmp_path / "circle-moving-up-right-0.webp").astype(int)
    background = np.median(frames.reshape(-1, 3), axis=0)
    assert (background > 250).all()
    ink = (abs(frames - background).sum(axis=-1) > 200).astype(float)
    assert ink.sum(axis=(1, 2)).max() > 10  # there is something to see,
    rows, columns = np.indices(ink.shape[1:])
    seen = np.flatnonzero(ink.sum(axis=(1, 2)) > 10)[[0, -1]]
    y, x = (
        (ink[seen] * place).sum(axis=(1, 2)) / ink[seen].sum(axis=(1, 2))
        for place in (rows, columns)
    )
    assert y[1] < y[0]  # and it moves up
    assert x[1] > x[0]  # and right


def test_of_a_long_prompt_the_first_words_are_read(run_dir, tmp_path):
    options = ("--weights", run_dir, "--format", "gif")
    words = " ".join(["circle"] * 64)
    long = succeed("--prompt", f"{words} moving down", *options, "--out", tmp_path / "long")
    assert 'circle ..." has 66 words; only the first 64 are read' in long.stderr
    short = succeed("--prompt", words, *options, "--out", tmp_path / "short")
    assert "the first 64 are read" not in short.stderr
    assert [*files_in(tmp_path / "long").values()] == [*files_in(tmp_path / "short").values()]


# --- what bad input gets -----------------------------------------------------------------------


def assert_one_line(result, pattern):
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith("loading ")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for part in pattern.split("*"):
        assert part in lines[0]
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", "a circle shrinkng", "--strict"], 'read as "circle shrinking"*strict'),
        (["--prompt", "heart"], 'no word that the model knows; known prompts: "circle moving'),
        (["--prompt", ""], 'prompt "" has no words; known prompts: "circle moving'),
        (["--prompt", "…"], "has no words"),
        (["--prompt", "🚀🚀"], "has no words"),
        (["--prompt", "\x1b[2J\x07 zz"], "no word that the model knows"),
        (["--prompt", "word " * 10_000], 'prompt "word word*..." has no word that'),
        (["--prompt", "xyzzy", "--allow-unknown"], "has no word that the model knows"),
        ([], "no prompt: give --prompt*know 3*'circle moving down'"),
        (["--prompts-file", os.devnull], "not a regular file"),
    ],
)
def test_prompts_without_sense(run_dir, tmp_path, arguments, message):
    out = tmp_path / "out"
    assert_one_line(run(*arguments, "--weights", run_dir, "--out", out), message)
    assert not out.exists()


EARLY_MISTAKES = [
    (["--num-videos", "0"], "--num-videos 0: must be at least 1"),
    (
        ["--num-videos", "1000000000"],
        "1,000,000,000 videos are too many for a call (at most 1,000,000)",
    ),
    (["--num-frames", "0"], "--num-frames 0: must be between 1 and"),
    (["--num-frames", "1000000"], "--num-frames 1000000: must be between 1 and"),
    (["--seed", "-1"], "--seed -1: must be between 0 and"),
    (["--seed", str(2**63)], "must be between 0 and"),
    (["--truncation", "1.2"], "--truncation 1.2: must be between 0 (typical) and 1"),
    (["--truncation", "-0.1"], "--truncation -0.1: must be between 0"),
    (["--scale", "0"], "--scale 0: must be at least 1"),
    (["--height", "-64"], "--height -64: must be at least 1"),
    (["--scale", "2", "--height", "64"], "--scale 2 and --height 64: give only one of them"),
    (["--resample", "cubic"], "'cubic'*'lanczos'"),
    (["--fps", "0"], "--fps 0: must be between 0.1 and"),
    (["--fps", "nan"], "--fps nan: must be between 0.1 and"),
    (["--format", "gfi"], "'gfi' must be one of gif,mp4,avi,webp,png; did you mean gif?"),
    (["--format", "gif,,mp4"], "'' must be one of gif"),
    (["--prompts-file", "/nowhere.txt"], "/nowhere.txt: No such file"),
    (["--prompts-file", sys.executable], "not UTF-8"),
    (["--out", "/dev/null/videos"], "--out /dev/null/videos: /dev/null is a file"),
    (["--prompt", "Circle, shrinking"], "'circle shrinking' and 'Circle, shrinking' would share"),
    (["--promt", "circle"], "--promt*--prompt"),
    (["--device", "tpu"], "'tpu'*'auto'"),
    (["--num-videos", "three"], "--num-videos*three"),
]


@pytest.mark.parametrize(("arguments", "message"), EARLY_MISTAKES)
def test_mistakes_on_the_command_line(tmp_path, arguments, message):
    result = run("--prompt", "circle shrinking", *arguments, cwd=tmp_path)
    assert_one_line(result, message)
    assert "loading" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_weights_that_cannot_be_used(run_dir, tmp_path):
    whole = (run_dir / "weights.safetensors").read_bytes()
    flipped = bytearray(whole)
    flipped[-10] ^= 0x10
    other = whole.replace(b'"format_version":"1"', b'"format_version":"9"')
    assert other != whole
    cases = {
        "missing.safetensors": (None, "no such file"),
        "cut.safetensors": (whole[: len(whole) // 2], "not a readable safetensors file"),
        "empty.safetensors": (b"", "not a readable safetensors file"),
        "flipped.safetensors": (bytes(flipped), "damaged"),
        "other.safetensors": (other, "format version '9'"),
    }
    for name, (data, message) in cases.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        result = run("--prompt", PROMPTS[0], "--weights", tmp_path / name, cwd=tmp_path)
        assert_one_line(result, f"{name}*{message}")
    (tmp_path / "run").mkdir()
    result = run("--prompt", PROMPTS[0], "--weights", tmp_path / "run", cwd=tmp_path)
    assert_one_line(result, "run*holds neither")
    assert not (tmp_path / "videos").exists()


def test_weights_that_claim_endless_clips(run_dir, tmp_path):
    tensors, info = load_weights(run_dir)
    path = tmp_path / "weights.safetensors"
    save_weights(path, tensors, info.model_copy(update={"num_frames": 10**15}))
    for options in (), ("--num-frames", 3):
        result = run("--prompt", PROMPTS[0], "--weights", path, *options, cwd=tmp_path)
        assert_one_line(result, f"clips of {10**15} frames of 16x24 are too large*train on smaller")
    assert not (tmp_path / "videos").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_no_gpu(run_dir, tmp_path):
    what = ("--prompt", PROMPTS[0], "--weights", run_dir, "--out", tmp_path)
    assert_one_line(run(*what, "--device", "cuda"), "--device cuda*try --device cpu")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    what = ("--prompt", PROMPTS[0], "--out", tmp_path / "videos")
    assert_one_line(run(*what), "is not writable; choose another folder")


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk(run_dir, tmp_path, format):
    """The kernel refuses to write past 200 bytes, like a full disk."""
    result = run(
        *("--prompt", PROMPTS[0], "--weights", run_dir, "--out", tmp_path, "--format", format),
        max_file_bytes=200,
    )
    assert_one_line(result, f"circle-moving-up-right-0.{format}: cannot be written: File too large")
    assert list(tmp_path.iterdir()) == []


def test_frames_never_replace_other_files(run_dir, tmp_path):
    taken = tmp_path / "circle-shrinking-0"
    taken.mkdir()
    (taken / "thesis.txt").write_text("precious")
    what = ("--prompt", PROMPTS[2], "--weights", run_dir, "--out", tmp_path, "--format", "png")
    assert_one_line(run(*what), "holds thesis.txt")
    assert (taken / "thesis.txt").read_text() == "precious"


def test_ctrl_c_leaves_whole_files_only(run_dir, tmp_path):
    what = ("--prompt", PROMPTS[0], "--num-videos", 100_000, "--format", "webp")
    process = subprocess.Popen(
        command(*what, "--weights", run_dir, "--out", tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("circle*.webp")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Traceback" not in errors
    names = [name for name in os.listdir(tmp_path) if not name.startswith(".tmp-")]
    assert names
    for name in names:
        assert load_clip(tmp_path / name).shape == (NUM_FRAMES, HEIGHT, WIDTH, 3)


# --- time --------------------------------------------------------------------------------------


def modules_imported(*arguments, expect):
    environment = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    result = subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == expect, result.stderr[-500:]
    report = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    return {line.split("|")[-1].strip().split(".")[0] for line in report}


@pytest.mark.parametrize(
    ("arguments", "expect"),
    [(["--help"], 0), (["--bogus"], 2), (["--prompt", "x", "--fps", "0"], 2)],
)
def test_help_and_mistakes_import_nothing_heavy(arguments, expect):
    modules = modules_imported(*arguments, expect=expect)
    assert "tyro" in modules
    assert not modules & {"torch", "av", "cv2", "PIL", "pydantic", "safetensors", "webdataset"}


def test_generation_imports_only_what_it_uses(run_dir, tmp_path):
    what = ("--prompt", PROMPTS[0], "--weights", run_dir, "--out", tmp_path)
    modules = modules_imported(*what, expect=0)
    assert "torch" in modules
    assert not modules & {"torchvision", "accelerate", "wandb", "webdataset", "cv2", "av"}


def test_first_gif_costs_at_most_eight_seconds_of_computing(run_dir, tmp_path):
    """Measure computing, not waiting: the machine may be busy."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    succeed("--prompt", PROMPTS[0], "--weights", run_dir, "--out", tmp_path, run=run_cold)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 8
