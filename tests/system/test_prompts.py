"""Prompts in other words, and runs whose words a sentence encoder knows."""

import shutil

import numpy as np
import pytest

from t2vgan.checkpoint.weights import load_weights_info
from t2vgan.evaluation.prompt_accuracy.attributes import classify_objects
from t2vgan.evaluation.prompt_accuracy.select import select_tracker
from t2vgan.media import load_clip
from tests.support.commands import train
from tests.support.warm import run_warm, run_warm_ok

SAID, READ_AS = "a tiny crimson star getting bigger", "a small red star expanding"


def test_a_tiny_crimson_star_gets_bigger(tmp_path):
    options = ("--weights", "shapes", "--num-videos", 4, "--format", "webp", "--out", tmp_path)
    result = run_warm_ok("generate.py", "--prompt", SAID, *options)
    assert f'prompt "{SAID}" is read as "{READ_AS}" (' in result.stderr
    clips = np.stack([load_clip(path) for path in sorted(tmp_path.iterdir())])
    assert len(clips) == 4
    objects = classify_objects(select_tracker([READ_AS])(clips))
    wanted = {"shape": "star", "colour": "red", "size": "small", "motion": "expanding"}
    right = [found[0].items() >= wanted.items() for found in objects if found]
    assert sum(right) >= 3
    refused = run_warm("generate.py", "--prompt", SAID, *options, "--strict")
    assert refused.returncode == 2
    assert f'"{READ_AS}"' in refused.stderr


def test_a_run_gets_the_states_of_its_words_and_draws_without_the_encoder(circles, tmp_path):
    pytest.importorskip("tokenizers", reason="needs the extra text")
    from tests.support.sentence_encoders import write_encoder

    encoder, run_dir = write_encoder(tmp_path / "encoder"), tmp_path / "run"
    data = shutil.copytree(circles, tmp_path / "data")
    run = train(data, run_dir, "--model.text-encoder", encoder)
    planned = run_warm_ok(*run, "--dry-run")
    assert "nothing was written" in planned.stdout
    assert not [*data.glob("text_states*")]
    run_warm_ok(*run, "--train.num-steps", 4)
    assert len([*data.glob("text_states-*.safetensors")]) == 1
    info = load_weights_info(run_dir)
    assert info.text_encoder is not None
    assert info.text_encoder.name == str(encoder)
    shutil.rmtree(encoder)
    run_warm_ok(*run)  # the checkpoint holds the states
    assert load_weights_info(run_dir).text_encoder == info.text_encoder
    drawn = "--weights", run_dir, "--out", tmp_path / "videos"
    run_warm_ok("generate.py", "--prompt", "a ball falling", *drawn)
    assert (tmp_path / "videos" / "a-ball-falling-0.gif").exists()
    fresh = run_warm(*train(data, tmp_path / "other", "--model.text-encoder", encoder))
    assert fresh.returncode == 2
    assert "must be minilm or a folder" in fresh.stderr
