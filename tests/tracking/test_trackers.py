"""Files of wandb and TensorBoard, written by them and read back."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2vgan.config import Config
from t2vgan.errors import UserError
from t2vgan.media import contact_sheet, film_strips, save_clip
from t2vgan.tracking import check_tracking, has_wandb_key, start_tracking
from t2vgan.tracking.scalars import evaluation_tables, scalars
from tests.support.wandb_files import (
    alerts_of,
    artifacts_of,
    axes_of,
    config_of,
    history_of,
    is_ended,
    offline_runs,
    run_ids,
)

CLOCKS = {"seconds": 1.5, "wall_time": 1e9}
TRAIN = {
    "kind": "train", "step": 20, "clips_seen": 320, **CLOCKS, "clips_per_second": 99.0,
    "loss/generator": 0.5, "gradient_norm/generator": 2.0, "lost": None, "rank_skew": 1.25,
}  # fmt: skip
EVALUATION = {
    "kind": "evaluation", "step": 20, "clips_seen": 320, **CLOCKS, "accuracy": 0.75,
    "accuracy_interval": [0.5, 0.9], "spread": {"size": 0.125, "speed": None},
    "per_prompt": {"circle moving up": 1.0, "circle moving left": 0.5},
    "clips_per_prompt": {"circle moving up": 2, "circle moving left": 2},
    "confusion": {"circle moving up": {"up": 2}, "circle moving left": {"left": 1, "none": 1}},
}  # fmt: skip
ALARM = {
    "kind": "event", "step": 20, "clips_seen": 320, **CLOCKS, "message": "seeds make no ...",
    "alarm": "seeds_ignored", "warning": True,
}  # fmt: skip
ALARM_OVER = {name: value for name, value in ALARM.items() if name != "warning"} | {"over": True}
CONFUSION = {"still": {"still": 2}, "left": {"right": 3, "left": 1}, "never": {}}
NUMBERS = {
    "kind": "evaluation", "step": 20, "clips_seen": 320, **CLOCKS, "accuracy_missing": "no meter",
    "clip_numbers": {"agreement": {"kind": "label", "accuracy": 0.5, "confusion": CONFUSION}},
}  # fmt: skip
PROMPTS = ["circle moving up", "circle moving left"]
CLIPS = np.random.default_rng(0).integers(0, 256, (2, 5, 8, 12, 3), np.uint8)


def write_samples(run_dir: Path) -> dict:
    """Write two clips as a run does; return their record."""
    strips = run_dir / "samples" / "step_00000020.png"
    save_clip(strips, film_strips(CLIPS)[None])
    save_clip(strips.with_suffix(".gif"), contact_sheet(CLIPS, PROMPTS, columns=2), fps=10)
    return {
        "kind": "samples", "step": 20, "clips_seen": 320, **CLOCKS,
        "file": "samples/step_00000020.png", "animation": "samples/step_00000020.gif",
        "prompts": PROMPTS, "held_out_prompts": PROMPTS[1:], "fps": 10.0,
        "num_frames": 5, "height": 8, "width": 12,
    }  # fmt: skip


def track(run_dir: Path, name: str, records: list[dict], step: int = 0) -> None:
    config = Config(run_dir=run_dir, tracking=name)  # type: ignore[arg-type]
    outbox = start_tracking(config, {"world_size": 2}, step)
    for record in records:
        outbox.put(record)
    outbox.close()
    assert outbox.num_dropped == 0


@pytest.fixture
def wandb_run(tmp_path, monkeypatch) -> Path:
    """A run that wandb recorded offline, killed after a checkpoint and resumed."""
    for name in ("WANDB_DIR", "WANDB_API_KEY", "WANDB_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    run_dir = tmp_path / "my run"
    for name in ("weights", "weights_best"):
        (run_dir / f"{name}.safetensors").parent.mkdir(exist_ok=True)
        (run_dir / f"{name}.safetensors").write_text(name)
    weights = {"kind": "weights", "step": 20, "clips_seen": 320, "is_best": True}
    track(run_dir, "wandb", [TRAIN, write_samples(run_dir), EVALUATION, weights])
    again = [TRAIN, NUMBERS, ALARM, ALARM_OVER, weights | {"step": 40, "is_best": False}]
    track(run_dir, "wandb", again)
    deadline = time.monotonic() + 300  # wandb's own process writes to the end when it is on turn
    while not all(is_ended(path) for path in offline_runs(run_dir)):
        assert time.monotonic() < deadline, "wandb did not end its records"
        time.sleep(0.1)
    return run_dir


def test_wandb_gets_all_that_a_run_shows(wandb_run):
    first, second = offline_runs(wandb_run)
    assert run_ids(first) == run_ids(second) == {(wandb_run / "wandb_id").read_text()}
    assert config_of(first)["train"]["num_steps"] == 4000
    assert config_of(first)["environment"] == {"world_size": 2}
    assert axes_of(first) == {
        "step": "", "clips_seen": "", "*": "step", "evaluation/*": "clips_seen",
    }  # fmt: skip

    train, samples, evaluation = history_of(first)
    for row in (train, samples, evaluation):
        assert (row["step"], row["clips_seen"]) == (20, 320)
    assert train["throughput/clips_per_second"] == 99
    assert train["throughput/rank_skew"] == 1.25
    assert train["gradient_norm/generator"] == 2
    assert evaluation["evaluation/accuracy"] == 0.75
    assert evaluation["evaluation/prompts._type"] == "table-file"
    assert evaluation["evaluation/prompts.nrows"] == 2
    assert history_of(second)[0]["loss/generator"] == 0.5, "a step again is no step lost"

    assert history_of(second)[1]["evaluation/clip_numbers/agreement/accuracy"] == 0.5
    assert history_of(second)[1]["evaluation/names.nrows"] == 2
    assert alerts_of(first) == []
    assert alerts_of(second) == [
        ("seeds ignored", "my run, step 20: seeds make no ...", "WARN"),
    ]  # fmt: skip

    assert samples["samples._type"] == "video-file"
    assert samples["samples.caption"] == "circle moving up; circle moving left"
    sheet = wandb_run / "samples" / "step_00000020.gif"
    assert (first.parent / "files" / samples["samples.path"]).read_bytes() == sheet.read_bytes()

    weights = [
        (set(aliases), {name: path.read_text() for name, path in files.items()})
        for path in (first, second)
        for aliases, files in artifacts_of(path)
        if not any(name.endswith(".table.json") for name in files)
    ]
    best = ({"best", "latest", "step-20"}, {"weights_best.safetensors": "weights_best"})
    assert weights[0] == best
    assert weights[-1] == ({"latest", "step-40"}, {"weights.safetensors": "weights"})


def test_tensorboard_gets_all_that_a_run_shows(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    later = TRAIN | {"step": 40, "clips_seen": 640, "loss/generator": 0.25}
    track(tmp_path, "tensorboard", [TRAIN, write_samples(tmp_path), EVALUATION, later])
    again = [later | {"loss/generator": 0.375}]
    track(tmp_path, "tensorboard", [*again, NUMBERS, ALARM], step=20)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    losses = [(event.step, event.value) for event in events.Scalars("loss/generator")]
    assert losses == [(20, 0.5), (40, 0.375)], "the killed life's later steps are hidden"
    assert [event.value for event in events.Scalars("throughput/rank_skew")] == [1.25, 1.25]
    assert [event.value for event in events.Scalars("clips_seen")] == [320, 640]
    assert [event.value for event in events.Scalars("evaluation/spread/size")] == [0.125]
    (film,) = events.Images("samples")
    with Image.open(io.BytesIO(film.encoded_image_string)) as picture:
        assert (picture.format, picture.n_frames) == ("GIF", 5)
        assert picture.size == (film.width, film.height)
    (alarm,) = events.Tensors("alarms/text_summary")
    assert alarm.tensor_proto.string_val[0] == b"seeds make no ..."
    agreement = events.Scalars("evaluation/clip_numbers/agreement/accuracy")
    assert [event.value for event in agreement] == [0.5]
    (table,) = events.Tensors("evaluation/prompts/text_summary")
    text = table.tensor_proto.string_val[0].decode()
    assert "| circle moving left | 0.5 | 2 | left 1, none 1 |" in text
    (first, *_) = events.Tensors("config/text_summary")
    assert '"num_steps": 4000' in first.tensor_proto.string_val[0].decode()


def test_numbers_by_panel():
    assert scalars(TRAIN) == {
        "throughput/seconds": 1.5, "throughput/clips_per_second": 99.0, "loss/generator": 0.5,
        "gradient_norm/generator": 2.0, "throughput/rank_skew": 1.25,
    }  # fmt: skip
    assert scalars(EVALUATION) == {"evaluation/accuracy": 0.75, "evaluation/spread/size": 0.125}
    assert evaluation_tables(EVALUATION) == {
        "evaluation/prompts": [
            ["circle moving left", 0.5, 2, "left 1, none 1"],
            ["circle moving up", 1.0, 2, "up 2"],
        ]
    }
    assert evaluation_tables(NUMBERS) == {
        "evaluation/names": [
            ["left", 0.25, 4, "right 3, left 1"],
            ["still", 1.0, 2, "still 2"],
        ]
    }
    assert evaluation_tables(TRAIN) == {}


@pytest.mark.parametrize(
    ("variables", "netrc", "expected"),
    [
        ({}, "", False),
        ({"WANDB_API_KEY": "0" * 40}, "", True),
        ({}, "machine api.wandb.ai login user password secret", True),
        ({"WANDB_BASE_URL": "https://own:8080"}, "machine api.wandb.ai password x", False),
        ({"WANDB_BASE_URL": "https://own:8080"}, "machine own login user password x", True),
        ({}, "machine machine machine", False),
    ],
)
def test_a_key_is_looked_for_without_asking(variables, netrc, expected, tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "netrc").write_text(netrc)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert has_wandb_key() == expected


def test_a_tracker_that_is_not_installed_is_a_mistake_of_the_command_line(monkeypatch):
    from t2vgan.tracking import start

    check_tracking(Config(tracking="tensorboard"))
    monkeypatch.setattr(start.importlib.util, "find_spec", lambda name: None)
    check_tracking(Config())
    with pytest.raises(UserError, match="pip install tensorboard"):
        check_tracking(Config(tracking="tensorboard"))
