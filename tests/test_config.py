"""Settings are frozen and validated; errors show the arithmetic."""

import json

import pytest
from pydantic import ValidationError

from t2vgan.commands.train import read
from t2vgan.config import (
    ClipGanConfig,
    Config,
    DataConfig,
    TrainConfig,
)
from t2vgan.config.presets import DESCRIPTIONS, PRESETS
from t2vgan.data.batch_plan import advise_streams, check_num_shards, plan_batches
from t2vgan.errors import UserError
from t2vgan.training.run_dir import load_config
from t2vgan.utils.frozen import flatten
from tests.support.commands import ROOT


def config(*, streams=8, batch=32, micro=0, penalty="exact") -> Config:
    return Config(
        data=DataConfig(num_streams=streams),
        train=TrainConfig(global_batch_size=batch, micro_batch_size=micro, penalty=penalty),
    )


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_a_round_trip_and_divide_on_one_process(name, tmp_path):
    preset = PRESETS[name]
    path = tmp_path / "config.json"
    path.write_text(preset.model_dump_json())
    assert load_config(path) == preset
    assert plan_batches(preset, world_size=1).micro_size == preset.train.global_batch_size
    assert name in DESCRIPTIONS


@pytest.mark.parametrize("preset", ["quickstart", "video"])
def test_a_switch_is_turned_on_and_off_whatever_the_preset_says(preset):
    for flag, expected in (("--train.standardize", True), ("--train.no-standardize", False)):
        assert read([preset, flag]).config.train.standardize is expected


def test_the_table_of_presets_has_all_with_their_steps():
    lines = (ROOT / "docs" / "options.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "| `" in line]
    assert {row[0]: row[4] for row in rows} == {
        f"`{name}`": f"{preset.train.num_steps:,} x {preset.train.global_batch_size}"
        for name, preset in PRESETS.items()
    }


def test_a_config_cannot_change():
    with pytest.raises(ValidationError):
        Config().train.seed = 3


@pytest.mark.parametrize(
    "values",
    [{"num_steps": 0}, {"generator_lr": -1.0}, {"beta2_end": 1.0}, {"loss": "wgan"}, {"x": 1}],
)
def test_values_outside_their_rule_are_refused(values):
    with pytest.raises(ValidationError):
        TrainConfig(**values)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mismatched_weight", 1.0, "must be 0 with .* reads no prompts"),
        ("recovered_latents", 2, "must be 0 with .* reads no latents"),
        ("frames_per_clip", 4, "must be 1 with .* sees single frames"),
    ],
)
def test_the_notebooks_discriminator_sees_one_frame_and_nothing_else(name, value, message):
    notebook = PRESETS["notebook"]
    train = notebook.train.model_copy(update={name: value})
    with pytest.raises(ValidationError, match=f"train.{name}={value} {message}"):
        Config(model=notebook.model, train=train)


def test_a_transformer_needs_whole_heads():
    with pytest.raises(ValidationError, match=r"text_size=6 must be a multiple of 16"):
        ClipGanConfig(text_encoder="transformer", text_size=6)


def test_no_more_latents_are_recovered_than_there_are():
    with pytest.raises(ValidationError, match=r"recovered_latents=6 must be at most .* 5"):
        Config(model=ClipGanConfig(latent_size=5), train=TrainConfig(recovered_latents=6))


def test_a_camera_takes_three_latents_and_sprites():
    assert ClipGanConfig(camera_variation=0.1, num_sprites=1, latent_size=3).latent_size == 3
    with pytest.raises(ValidationError, match=r"variation=0.1 needs 3 .* more than .*=2; use"):
        ClipGanConfig(camera_variation=0.1, num_sprites=1, latent_size=2)
    with pytest.raises(ValidationError, match=r"variation=0.1 moves sprites, but .*=0; use"):
        ClipGanConfig(camera_variation=0.1)


def test_micro_batch_is_the_share_of_a_process_unless_given():
    assert plan_batches(config(), world_size=4).micro_size == 8
    assert plan_batches(config(micro=2), world_size=4).micro_size == 2


@pytest.mark.parametrize(
    ("options", "world_size", "message"),
    [
        ({}, 3, r"data.num_streams=8 must be a multiple of world_size=3 \(8 = 2 \* 3 \+ 2\)"),
        (
            {"streams": 4},
            8,
            r"streams=4 must be a multiple of world_size=8.*--data.num-streams 8$",
        ),
        ({"batch": 48}, 3, r"try --data.num-streams 6$"),
        ({"batch": 20}, 1, r"train.global_batch_size=20 must be a multiple of data.num_streams=8"),
        ({"micro": 3}, 4, r"must be a multiple of world_size \* micro_batch_size = 4 \* 3 = 12"),
        (
            {"penalty": "approximate", "micro": 2},
            4,
            r"one clip in 4, so the 2 clips .* multiple of 4",
        ),
    ],
)
def test_sizes_that_do_not_divide_show_the_arithmetic(options, world_size, message):
    with pytest.raises(UserError, match=message):
        plan_batches(config(**options), world_size)


def test_flatten_names_options_as_the_command_line_does():
    flat = flatten(Config())
    assert flat["train.seed"] == 0
    assert flat["model.kind"] == "clip_gan"
    assert "train" not in flat


def test_runs_of_earlier_versions_go_on_if_what_is_retired_was_off(tmp_path):
    path = tmp_path / "config.json"
    train = '{"look_latents": 0, "spread_weight": 0.0, "seed": 3}'
    model = '{"kind": "clip_gan", "steady_look": false, "num_references": 2}'
    path.write_text(f'{{"model": {model}, "train": {train}}}')
    assert load_config(path) == Config(train=TrainConfig(seed=3, standardize=False, augment=0.0))
    path.write_text('{"train": {"look_latents": 2}}')
    with pytest.raises(UserError, match=r"look_latents=2: this version has no .* new --run-dir"):
        load_config(path)


@pytest.mark.parametrize(
    ("kind", "fresh"), [("clip_gan", True), ("notebook_gan", False)], ids=["clip", "notebook"]
)
def test_fresh_latents_are_read_where_they_say_what_the_model_does(kind, fresh, tmp_path):
    """The option is retired: the model's kind decides."""
    preset = PRESETS["notebook" if kind == "notebook_gan" else "quickstart"]
    assert preset.model.shares_latents is not fresh
    path = tmp_path / "config.json"
    old = preset.model_dump(mode="json")
    old["train"]["fresh_latents"] = fresh
    path.write_text(json.dumps(old))
    assert load_config(path) == preset
    old["train"]["fresh_latents"] = not fresh
    path.write_text(json.dumps(old))
    with pytest.raises(UserError, match=rf"train.fresh_latents={not fresh}: this version has no"):
        load_config(path)


def test_a_damaged_config_file_is_one_line(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"train": {"seed": -1}}')
    with pytest.raises(UserError) as caught:
        load_config(path)
    assert "train.seed=-1" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_scene_and_sprites_exclude_each_other():
    with pytest.raises(ValidationError, match=r"scene_scale=2.0 gives .*num_sprites=1 uses"):
        ClipGanConfig(scene_scale=2.0, num_sprites=1)


def test_phrases_need_sprites_and_as_many_latents_each():
    with pytest.raises(ValidationError, match=r"max_phrases=2 draws sprites .*num_sprites=0; use"):
        ClipGanConfig(max_phrases=2)
    model = ClipGanConfig(max_phrases=3, num_sprites=1)
    with pytest.raises(ValidationError, match=r"recovered_latents=8 must be a multiple .* = 3"):
        Config(model=model)
    assert Config(model=model, train=TrainConfig(recovered_latents=6)).model == model


def test_motion_needs_two_frames():
    with pytest.raises(
        ValidationError, match=r"motion_channels=8 .*frames_per_clip=1; use --train"
    ):
        Config(model=ClipGanConfig(motion_channels=8), train=TrainConfig(frames_per_clip=1))


@pytest.mark.parametrize(("world_size", "num_shards"), [(1, 3), (2, 3), (3, 5), (1, 7), (4, 7)])
def test_the_advice_for_few_shards_can_be_followed(world_size, num_shards):
    with pytest.raises(UserError, match=f"must be at most the number of shards = {num_shards}"):
        check_num_shards(config(), world_size, num_shards)
    advice = advise_streams(config().train.global_batch_size, world_size, num_shards).split()
    options = dict(zip(advice[::2], map(int, advice[1::2]), strict=True))
    streams = options["--data.num-streams"]
    batch = options.get("--train.global-batch-size", config().train.global_batch_size)
    assert streams <= num_shards
    assert streams % world_size == batch % streams == 0
