"""The whole protocol, and the command as users run it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from data_tools.build.scene_build import BuildPlan
from data_tools.build_shards import build
from data_tools.scenes import circles
from t2vgan.checkpoint.weights import WeightsInfo, load_weights, save_weights
from t2vgan.config import ClipGanConfig, DataConfig
from t2vgan.data.shards import (
    Geometry,
    load_manifest,
    read_samples,
    write_manifest,
    write_shard,
)
from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.evaluation import evaluate as evaluate_module
from t2vgan.evaluation.__main__ import evaluation
from t2vgan.evaluation.clip_sheet import choose_prompts, save_clip_sheet
from t2vgan.evaluation.probe import build as build_module
from t2vgan.evaluation.real_clips import RealClips
from t2vgan.evaluation.record import PROTOCOL_VERSION, Evaluation
from t2vgan.evaluation.table import format_evaluation
from t2vgan.media import save_clip, slug
from t2vgan.models import build_generator
from t2vgan.pipeline import TextToVideo
from t2vgan.tokenizer import Vocabulary
from t2vgan.video import to_video
from tests.support.textures import GEOMETRY as TEXTURES
from tests.support.textures import PROMPTS as PROMPTS_OF_TEXTURES
from tests.support.textures import draw_textures, write_textures
from tests.support.warm import run_warm

ROOT = Path(__file__).parents[2]
GEOMETRY = Geometry(num_frames=10, height=32, width=48)
HELD_OUT = "circle moving up-right"
PROMPTS = (*circles.PROMPTS, HELD_OUT)
MODEL = ClipGanConfig(latent_size=4, text_size=8, hidden_size=16, channels=4, patch_size=2)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path_factory):
    """Keep what is cached out of the user's folder."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.getbasetemp() / "home"))


def evaluate(*arguments, probe_steps=2, **options):
    """Evaluate with a probe that is hardly trained."""
    return evaluate_module.evaluate(*arguments, probe_steps=probe_steps, **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("circles")
    build(BuildPlan("circles", 400, 150, GEOMETRY, 0), folder, num_workers=1)
    return folder


def write_weights(path, *, prompts=circles.PROMPTS, num_frames=10, geometry=GEOMETRY):
    vocabulary = Vocabulary.from_prompts(prompts)
    torch.manual_seed(0)
    generator = build_generator(
        MODEL, height=geometry.height, width=geometry.width, vocabulary_size=len(vocabulary)
    )
    info = WeightsInfo(
        model=MODEL,
        num_frames=num_frames,
        height=geometry.height,
        width=geometry.width,
        fps=10.0,
        words=vocabulary.words,
        prompts=prompts,
        held_out_prompts=(HELD_OUT,),
        step=7,
        clips_seen=112,
        t2vgan_version="0.0.0",
    )
    save_weights(path, generator.state_dict(), info)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("run") / "weights.safetensors")


class Oracle(nn.Module):
    """A generator that renders its prompt; the latent picks the clip."""

    def __init__(self, vocabulary):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.prompts = {
            tuple(ids[mask]): prompt
            for prompt in PROMPTS
            for ids, mask in [(row[0] for row in vocabulary.encode([prompt]))]
        }

    def latent_shape(self, num_frames):
        return (1,)

    def encode_text(self, token_ids, token_mask):
        """Return the token ids, -1 where there are none."""
        return token_ids.where(token_mask, -1)

    def draw_video(self, latents, text, times, trained_frames=None):
        asked = [self.prompts[tuple(ids[ids >= 0].tolist())] for ids in text]
        # "moving up-right" is the held-out name of what "moving diagonally up-right" shows
        named = [p.replace(HELD_OUT, "circle moving diagonally up-right") for p in asked]
        clips = [int(abs(latent) * 1e5) for latent in latents]
        frames = circles.render_clips(clips, 99, GEOMETRY, prompts=named).frames
        return to_video(torch.from_numpy(frames))


def test_a_perfect_generator_gets_a_perfect_score(monkeypatch, data, weights):
    real = TextToVideo.from_pretrained(weights)
    oracle = TextToVideo(Oracle(real.vocabulary), real.vocabulary, real.info)
    monkeypatch.setattr(TextToVideo, "from_pretrained", lambda path, device: oracle)
    result = evaluate(weights, DataConfig(path=data), num_clips=400)
    assert result.generated.accuracy == result.generated.accuracy_held_out == 1
    assert result.generated.one_object == 1
    assert list(result.generated.per_prompt) == [*load_manifest(data).prompts, HELD_OUT]
    assert set(result.generated.clips_per_prompt.values()) == {400 // 19, 400 // 19 + 1}
    assert result.protocol.num_held_out_clips == result.generated.clips_per_prompt[HELD_OUT]
    assert result.relative_to_real.diversity == pytest.approx(1, abs=0.15)
    assert result.relative_to_real.drift_area == pytest.approx(1, abs=0.15)
    assert result.ceiling.accuracy >= 0.99
    assert result.ceiling.num_clips == result.protocol.num_real_clips == 400
    table = format_evaluation(result).splitlines()
    assert any(line.split()[:4] == ["held-out", "prompts", "21", "100.0%"] for line in table)
    assert all(len(line) <= 100 and line == line.rstrip() for line in table)


def test_held_out_means_that_the_weights_never_saw_it(data, tmp_path):
    weights = write_weights(tmp_path / "all.safetensors", prompts=PROMPTS)
    result = evaluate(weights, DataConfig(path=data), num_clips=19)
    assert result.generated.accuracy_held_out is None
    assert result.generated.accuracy == 0


def run_command(*options):
    return run_warm("-m", "t2vgan.evaluation", "--probe-steps", 2, *options)


def test_the_command_writes_the_protocol_with_the_numbers(data, weights, tmp_path):
    out = tmp_path / "new" / "evaluation.json"
    options = ("--weights", weights.parent, "--data", data, "--num-clips", 40, "--seed", 3)
    done = run_command(*options, "--out", out, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "real clips (the ceiling)" in done.stdout
    assert str(out) in done.stdout
    record = json.loads(out.read_text())
    protocol = record["protocol"]
    assert protocol["version"] == PROTOCOL_VERSION
    assert protocol["dataset_fingerprint"] == load_manifest(data).fingerprint
    assert (protocol["weights_step"], protocol["weights_clips_seen"]) == (7, 112)
    assert (protocol["num_frames"], protocol["height"], protocol["width"]) == (10, 32, 48)
    assert (protocol["num_clips"], protocol["seed"], protocol["device"]) == (40, 3, "cpu")
    assert record["generated"]["accuracy"] == 0
    assert record["ceiling"]["accuracy"] >= 0.99
    assert record["controls"]["shuffled_frames"]["accuracy"] < 0.2
    shown = record.pop("shown")
    assert shown["file"] == "evaluation-clips.png"
    assert shown["held_out_prompts"] == shown["prompts"][-1:] == ["circle moving up-right"]
    assert len(shown["prompts"]) == 8 + 1
    again = evaluate(weights, DataConfig(path=data), num_clips=40, seed=3, device="cpu").model_dump(
        mode="json"
    )
    del again["protocol"], record["protocol"], again["shown"]
    assert again == record, "the same seed gives the same numbers"


class Filmed:
    """Clips of one grey level each, by place."""

    prompts = tuple("abcabcde")
    held_out = ("e",)

    def read(self, places):
        levels = np.array(places, dtype=np.uint8)[:, None, None, None, None]
        return np.tile(levels, (1, 3, 4, 5, 3)), []


def test_the_picture_shows_the_first_readable_clip_of_each_prompt(tmp_path):
    is_readable = np.array([1, 0, 1, 1, 1, 1, 0, 1], dtype=bool)
    shown, problems = save_clip_sheet(tmp_path / "x.png", Filmed(), is_readable)
    assert problems == []
    assert (set(shown.prompts[:-1]), shown.prompts[-1]) == (set("abc"), "e")
    rows = np.asarray(Image.open(tmp_path / "x.png")).reshape(-1, 4, 3 * 5, 3)
    first = {"a": 0, "b": 4, "c": 2, "e": 7}
    assert [set(row.flat) for row in rows] == [{first[prompt]} for prompt in shown.prompts]


def test_a_picture_that_cannot_be_written_is_a_note(tmp_path):
    (tmp_path / "x.png").mkdir()
    shown, (note,) = save_clip_sheet(tmp_path / "x.png", Filmed(), np.ones(8, dtype=bool))
    assert shown is None
    assert note.startswith("picture: ")


def test_two_systems_show_the_same_prompts():
    ours = [f"prompt {number}" for number in range(1000)]
    theirs = [f"prompt {number}" for number in range(1500, 0, -1)]
    assert len(set(choose_prompts(ours, 8)) & set(choose_prompts(theirs, 8))) >= 4


@pytest.mark.parametrize("call", ["run_module('t2vgan.evaluation'", "run_path('evaluate.py'"])
def test_help_does_not_wait_for_torch(call):
    code = (
        "import sys, runpy; sys.argv = ['evaluation', '--help']\n"
        f"try: runpy.{call}, run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'torch', 'cv2'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--num-clips" in done.stdout


class OfSeveral(DistributedContext):
    """One process that says where all ranks would learn of a mistake."""

    def run_on_all(self, function):
        try:
            return super().run_on_all(function)
        except UserError as error:
            raise UserError(f"on some rank: {error}") from None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_clips": 18}, "num_clips=18 must be at least 19"),
        ({"data": "nowhere"}, "data folder nowhere does not exist"),
        ({"weights": "nowhere"}, "weights=nowhere: no such file"),
        ({"probe_steps": 0}, "probe_steps=0 must be at least 1"),
        ({"device": "toaster"}, "device=toaster cannot be used here"),
        ({"weights": {"num_frames": 12}}, "make clips of 12x32x48, but the data has 10x32x48"),
        (
            {"weights": {"prompts": ("a dog",)}},
            "do not know the words bouncing, circle, clockwise, counter, diagonally, down,",
        ),
        ({"fvd_weights": "nowhere.pt"}, "on some rank: fvd_weights=nowhere.pt: no such file"),
    ],
)
def test_what_does_not_fit_is_said_before_any_work(wrong, message, data, weights, tmp_path):
    options = {"weights": weights, "data": data, "num_clips": 19} | wrong
    options["data"] = DataConfig(path=options["data"])
    if isinstance(options["weights"], dict):
        options["weights"] = write_weights(tmp_path / "other.safetensors", **options["weights"])
    with pytest.raises(UserError) as caught:
        evaluate(**options, context=OfSeveral())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mistake_is_one_line_and_exit_code_2(data, weights, tmp_path):
    out = tmp_path / "evaluation.json"
    done = run_command("--weights", weights, "--data", data, "--num-clips", 18, "--out", out)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --num-clips 18 must be at least 19")
    assert done.stderr.count("\n") == 1
    assert not out.exists()


def test_prompts_that_the_grammar_does_not_know_leave_the_other_numbers(tmp_path):
    """The whole command, on weights and on a folder of videos."""
    folder = write_textures(tmp_path / "data", 200, with_labels=True)
    weights = write_weights(
        tmp_path / "weights.safetensors",
        prompts=tuple(PROMPTS_OF_TEXTURES.values()), num_frames=6, geometry=TEXTURES,
    )  # fmt: skip
    out = tmp_path / "evaluation.json"
    options = ("--data", folder, "--out", out, "--device", "cpu")
    done = run_command("--weights", weights, "--num-clips", 150, *options)
    assert done.returncode == 0, done.stderr
    assert "prompt accuracy: not measured, because the meter does not know 2" in done.stdout
    assert "text-video agreement (label)" in done.stdout
    result = Evaluation.model_validate_json(out.read_text())
    assert (result.generated, result.ceiling, result.controls) == (None, None, None)
    numbers = result.clip_numbers
    assert (numbers.num_clips, numbers.num_real_clips) == (150, 96)
    assert numbers.agreement.kind == "label"
    assert set(numbers.agreement.confusion) == {"left", "right"}
    assert numbers.speed_variation_between is not None
    assert result.near_copies.num_training_clips == 200
    assert any("Frechet and kernel distance: needs 128 readable" in note for note in result.notes)
    assert all(len(line) <= 100 for line in done.stdout.splitlines()[:-1])

    videos = tmp_path / "videos"
    frames, sides = draw_textures(40, seed=3)
    for number, (clip, side) in enumerate(zip(frames, sides, strict=True)):
        save_clip(videos / f"{slug(PROMPTS_OF_TEXTURES[side])}-{number}.webp", clip)
    done = run_command("--videos", videos, *options)
    assert done.returncode == 0, done.stderr
    result = Evaluation.model_validate_json(out.read_text())
    assert result.videos.num_readable == 40
    assert result.clip_numbers.motion_energy == pytest.approx(1, abs=0.1)
    assert result.clip_numbers.diversity_pixels == pytest.approx(1, abs=0.1)
    assert result.clip_numbers.speed_variation_between is None


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file; choose another folder"):
        evaluation(data=tmp_path, out=tmp_path / "file" / "evaluation.json")


def test_a_probe_of_other_data_judges_held_out_clips(tmp_path):
    """The whole command; the probe is trained, then loaded from its file."""
    training = write_textures(tmp_path / "training", 200, with_labels=True)
    held_out = write_textures(tmp_path / "held_out", 136, with_labels=True, seed=1)
    weights = write_weights(
        tmp_path / "weights.safetensors",
        prompts=tuple(PROMPTS_OF_TEXTURES.values()), num_frames=6, geometry=TEXTURES,
    )  # fmt: skip
    options = ("--weights", weights, "--num-clips", 100, "--data", held_out, "--device", "cpu")
    first, second = tmp_path / "trained.json", tmp_path / "loaded.json"
    done = run_command(*options, "--probe-data", training, "--out", first)
    assert done.returncode == 0, done.stderr
    (probe,) = training.glob("probe-*.safetensors")
    assert not list(held_out.glob("probe-*"))
    fingerprint = load_manifest(training).fingerprint
    assert f"note: the probe was trained on other data ({fingerprint[:12]})" in done.stdout
    run = ("--features", probe, "--probe-data", training, "--out", second)
    assert run_command(*options, *run).returncode == 0
    result, other = (Evaluation.model_validate_json(out.read_text()) for out in (first, second))
    assert result.protocol.dataset_fingerprint == load_manifest(held_out).fingerprint
    assert result.protocol.probe_dataset_fingerprint == fingerprint
    assert (result.clip_numbers.num_real_clips, result.clip_numbers.agreement.num_clips) == (
        136,
        100,
    )
    assert result.clip_numbers == other.clip_numbers
    assert result.distribution == other.distribution
    refused = run_command(*options, "--features", probe, "--out", second)
    assert refused.returncode == 2
    assert "trained on other data" in refused.stderr
    assert "give its data as probe_data" in refused.stderr


def test_held_out_prompts_of_own_data_have_an_agreement_of_their_own(tmp_path):
    folder = write_textures(tmp_path / "data", 200, captions=True)
    held_out = ("a wall slides to the left, twice", "the right wall slides", "unknown words")
    manifest = load_manifest(folder).model_copy(update={"held_out_prompts": held_out})
    write_manifest(folder, manifest)
    weights = write_weights(
        tmp_path / "weights.safetensors",
        prompts=(*manifest.prompts, *held_out), num_frames=6, geometry=TEXTURES,
    )  # fmt: skip
    assert evaluate(weights, folder, num_clips=100, probe_steps=5).protocol.num_held_out_clips == 0
    tensors, info = load_weights(weights)
    trained = {"prompts": tuple(manifest.prompts), "held_out_prompts": held_out}
    save_weights(weights, tensors, info.model_copy(update=trained))
    result = evaluate(weights, folder, num_clips=100, probe_steps=5)
    assert result.protocol.num_held_out_clips == 16, "eight clips of each whose words are known"
    assert result.clip_numbers.num_clips == result.clip_numbers.agreement.num_clips == 84
    assert result.clip_numbers.agreement_held_out.num_clips == 16
    lines = format_evaluation(result).splitlines()
    (line,) = [line for line in lines if line.startswith("held-out prompts")]
    assert line.split()[2] == "16"


def test_prompts_of_unknown_words_are_left_out(data, tmp_path):
    weights = write_weights(
        tmp_path / "weights.safetensors", prompts=("circle moving down", "expanding")
    )
    result = evaluate(weights, data, num_clips=20)
    assert set(result.generated.clips_per_prompt) == {"circle moving down", "circle expanding"}
    assert result.protocol.num_left_out_prompts == len(PROMPTS) - 2
    assert result.ceiling.num_clips == 20
    (note,) = [note for note in result.notes if "left out" in note]
    assert note.startswith("17 of 19 prompts of the data are left out: the weights do not know the")
    assert f"note: {note[:60]}" in format_evaluation(result)


def test_prompts_of_unknown_words_are_left_out_where_the_meter_knows_none(tmp_path):
    folder = write_textures(tmp_path / "data", 600, with_labels=True)
    known = PROMPTS_OF_TEXTURES["left"]
    weights = write_weights(
        tmp_path / "weights.safetensors", prompts=(known,), num_frames=6, geometry=TEXTURES
    )
    result = evaluate(weights, folder, num_clips=160, probe_steps=5)
    assert result.protocol.num_left_out_prompts == 1
    assert set(result.clip_numbers.agreement.confusion) >= {"left"}
    assert sum(result.clip_numbers.agreement.confusion["left"].values()) == 160
    assert result.distribution.frechet.num_clips >= 128, "of all clips, and not of one each"


def test_clips_without_captions_are_compared_without_prompts(tmp_path):
    folder = write_textures(tmp_path / "data", 150)
    manifest = load_manifest(folder)
    samples = [
        replace(sample, members=sample.members | {"txt": b""})
        for sample in read_samples(folder / manifest.shards[0].name)
    ]
    entry = write_shard(folder / manifest.shards[0].name, samples)
    write_manifest(folder, manifest.model_copy(update={"prompts": {"": 150}, "shards": (entry,)}))
    options = {"num_frames": 6, "geometry": TEXTURES}
    captioned = write_weights(tmp_path / "captioned.safetensors", prompts=("a cat",), **options)
    with pytest.raises(UserError, match="the weights need a prompt"):
        evaluate(captioned, folder, num_clips=40)
    weights = write_weights(tmp_path / "weights.safetensors", prompts=("",), **options)
    result = evaluate(weights, folder, num_clips=40)
    assert result.accuracy_missing.startswith("there are clips without a caption")
    assert result.clip_numbers.agreement is None
    assert result.clip_numbers.diversity_pixels is not None
    assert any("not measured, because the clips have no captions" in note for note in result.notes)


def test_one_prompt_is_a_reason_and_no_error(data, weights, monkeypatch, tmp_path):
    folder = tmp_path / "one"
    build(BuildPlan("circles", 150, 150, GEOMETRY, 2), folder, num_workers=1)
    monkeypatch.setattr(
        RealClips, "read_with_labels",
        lambda self, indices, read=RealClips.read_with_labels: (
            read(self, indices)[0], ["circle moving left"] * len(indices), [None] * len(indices)
        ),
    )  # fmt: skip
    result = evaluate(weights, DataConfig(path=folder), num_clips=40)
    assert result.clip_numbers.agreement is None
    assert result.clip_numbers.diversity_pixels is not None
    (note,) = [note for note in result.notes if note.startswith("text-video agreement")]
    assert "not measured, because all clips have the prompt 'circle moving left'" in note


def test_a_damaged_shard_is_named(data, weights, tmp_path):
    folder = tmp_path / "damaged"
    folder.mkdir()
    for file in data.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    shard = folder / load_manifest(folder).shards[0].name
    content = bytearray(shard.read_bytes())
    start = content.index(b"RIFF")
    content[start : start + 400] = bytes(400)
    shard.write_bytes(content)
    with pytest.raises(UserError, match=rf"{shard.name}: sample \S+: "):
        evaluate(weights, DataConfig(path=folder), num_clips=19)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    build(BuildPlan("circles", 100, 50, GEOMETRY, 1), folder, num_workers=1)
    return folder


def test_a_mixture_is_judged_by_real_clips_of_every_part(data, small, weights, tmp_path):
    out = tmp_path / "evaluation.json"
    done = run_command(
        "--weights", weights, "--mix", f"{data}=3", f"{small}=1", "--num-clips", 200, "--out", out
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = Evaluation.model_validate_json(out.read_text())
    assert result.protocol.dataset_builder == "mixture"
    assert result.protocol.num_real_clips == 200
    assert result.near_copies.num_training_clips == 500
    assert result.ceiling.accuracy >= 0.99


@pytest.mark.system  # trains two probes
def test_the_floor_of_a_mixture_lies_between_sets_of_all_parts(monkeypatch, data, tmp_path):
    other = tmp_path / "notebook"
    build(BuildPlan("notebook", 400, 100, GEOMETRY, 0), other, num_workers=1)
    prompts = tuple(dict.fromkeys([*PROMPTS, *load_manifest(other).prompts]))
    weights = write_weights(tmp_path / "weights.safetensors", prompts=prompts)

    def floor(home: str) -> float:
        monkeypatch.setenv("HOME", str(tmp_path / home))
        mixture = DataConfig(mix=(f"{data}=1", f"{other}=1"))
        return evaluate(weights, mixture, num_clips=300).distribution.frechet.floor

    of_all_parts = floor("shuffled")
    monkeypatch.setattr(build_module, "permutation", lambda count, *_: np.arange(count))
    assert floor("in order") > 5 * of_all_parts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either --data (a folder or URL) or --mix"),
        (["--data", "a", "--mix", "b=1"], "give either --data (a folder or URL) or --mix"),
        (["--mix", "data/cats"], "data.mix 'data/cats' must be PATH=WEIGHT"),
    ],
)
def test_which_data_is_said_once(options, message, weights):
    done = run_command("--weights", weights, *options)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
