"""A probe judges data that it was not trained on."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from t2vgan.config import DataConfig
from t2vgan.data.mixture import open_data
from t2vgan.data.shards import load_manifest, read_samples, write_manifest, write_shard
from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.evaluation.clip_numbers import measure_clips
from t2vgan.evaluation.probe.build import build_probe, load_clips
from t2vgan.evaluation.probe.network import extract_features
from t2vgan.evaluation.probe.other_data import apply_probe, match_targets, open_probe_data
from t2vgan.evaluation.probe.probe import ProbeSettings, load_probe, save_probe
from t2vgan.evaluation.probe.targets import choose_targets
from t2vgan.evaluation.real_clips import RealClips
from t2vgan.tokenizer import Vocabulary
from tests.support.textures import PROMPTS, draw_textures, write_textures

SETTINGS = ProbeSettings(num_steps=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of two datasets of the same labels and of other clips."""
    root = tmp_path_factory.mktemp("data")
    write_textures(root / "training", 256, with_labels=True)
    write_textures(root / "held_out", 144, with_labels=True, seed=1)
    return root


def mixture(path):
    return open_data(DataConfig(path=str(path)))


@pytest.fixture(scope="module")
def probe(folder):
    clips = RealClips(mixture(folder / "training"), 256)
    return build_probe(clips, SETTINGS, torch.device("cpu"))


def apply(probe, data):
    context = DistributedContext()
    return apply_probe(probe, data, name="training", context=context, device="cpu")


def test_all_real_clips_of_other_data_are_the_ceiling(folder, probe, tmp_path):
    data = mixture(folder / "held_out")
    applied = apply(probe, data)
    loaded = load_clips(RealClips(data, 1000))
    save_probe(tmp_path / "probe.safetensors", probe)
    by_file = load_probe(tmp_path / "probe.safetensors")
    named = by_file.name_clips(extract_features(by_file.network, loaded.frames), loaded.prompts)
    right = [by_file.info.names[place] for place in named] == np.array(loaded.labels)
    assert applied.info.real.accuracy == right.mean() >= 0.95
    assert 0.3 < applied.info.real.accuracy_frames_shuffled < 0.7
    assert sorted(applied.info.prompts) == sorted(loaded.prompts), "every clip is held back"
    assert applied.features.shape == (144, 64)
    assert applied.info.dataset_fingerprint == mixture(folder / "training").manifest.fingerprint
    assert applied.info.real.motion_energy == pytest.approx(loaded.motion[:, 0].mean())
    assert applied.sha256 != probe.sha256, "other real clips are another reference"


def test_it_names_generated_clips_as_the_probe_that_was_trained(folder, probe):
    frames, sides = draw_textures(150, seed=5)
    prompts = [PROMPTS[side] for side in sides]
    frames[:40] = frames[:40, ::-1]
    ours = measure_clips(frames, prompts, apply(probe, mixture(folder / "held_out"))).agreement
    theirs = measure_clips(frames, prompts, probe).agreement
    assert (ours.accuracy, ours.confusion) == (theirs.accuracy, theirs.confusion)
    assert 0.6 < ours.accuracy < 0.8
    assert ours.real_confusion != theirs.real_confusion


def test_prompts_of_other_words_are_known_by_their_labels(folder, probe, tmp_path):
    """A prompt that the training data lacks is named by the label of its real clips."""
    write_textures(tmp_path / "data", 64, captions=True, with_labels=True, seed=2)
    data = mixture(tmp_path / "data")
    applied = apply(probe, data)
    wanted = applied.targets.of_prompts(list(data.manifest.prompts))
    assert {applied.info.names[place] for place in wanted} == {"left", "right"}
    assert (probe.targets.of_prompts(list(data.manifest.prompts)) == -1).all()


def relabel(source, out, change):
    """Write a dataset again whose json members are changed."""
    manifest = load_manifest(source)
    samples = [
        replace(sample, members=sample.members | {"json": change})
        for sample in read_samples(source / manifest.shards[0].name)
    ]
    out.mkdir()
    entry = write_shard(out / "textures-00000.tar", samples)
    write_manifest(out, manifest.model_copy(update={"shards": (entry,)}))
    return mixture(out)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (
            b'{"label": "up"}',
            "probe_data=training: the probe names the labels 'left', 'right', but 144 of 144 clips"
            " of the data have others ('up'); use probe_data with the same names, or leave it"
            " out",
        ),
        (b"{}", "names labels ('left', 'right'), but not all clips of the data have one"),
        (b'{"label": 1.5}', "(label=1.5 is of type float: a label must be text"),
    ],
)
def test_other_labels_are_refused(label, message, folder, probe, tmp_path):
    data = relabel(folder / "held_out", tmp_path / "data", label)
    with pytest.raises(UserError) as caught:
        apply(probe, data)
    assert message in str(caught.value)


def make_targets(prompts):
    """Return what stands for a probe that was trained on clips of these prompts."""
    vocabulary = Vocabulary.from_prompts(Counter(prompts), 100)
    targets = choose_targets(prompts, [None] * len(prompts))
    return SimpleNamespace(targets=targets, vocabulary=vocabulary)


CATS = [f"cat {number} runs" for number in range(200)]
DOGS = [f"dog {number} runs" for number in range(300, 340)]


@pytest.mark.parametrize(
    ("trained", "prompts", "message"),
    [
        (["a"] * 90 + ["b"] * 90, ["a"] * 9 + ["c"], "names the prompts 'a', 'b', but 1 of 10"),
        (CATS, DOGS[:20], "finds the right one of 32 captions, but the data has 20"),
        (CATS, [*DOGS, "hello"], "knows no word of 1 of 41 captions of the data, such as 'hello'"),
        (
            ["a"] * 90,
            ["a"] * 90,
            "the probe names nothing (a probe needs 128 real clips, found 90)",
        ),
    ],
)
def test_other_prompts_are_refused(trained, prompts, message):
    with pytest.raises(UserError) as caught:
        match_targets(make_targets(trained), prompts, [None] * len(prompts), "training")
    assert message in str(caught.value)
    assert "probe_data=training" in str(caught.value)


def test_captions_are_found_among_those_of_the_same_data():
    found = match_targets(make_targets(CATS), DOGS, [None] * len(DOGS), "training")
    assert (found.kind, sorted(found.names)) == ("caption", sorted(DOGS))


def test_clips_that_trained_the_probe_are_refused(folder):
    with pytest.raises(UserError, match=r"1 of 1 shards of the data are in it too, such as text"):
        open_probe_data(DataConfig(path=str(folder / "training")), mixture(folder / "training"))


def test_clips_of_another_size_are_refused(folder, tmp_path):
    write_textures(tmp_path, 8)
    manifest = load_manifest(tmp_path)
    write_manifest(tmp_path, manifest.model_copy(update={"fps": 7}))
    with pytest.raises(
        UserError, match="at 7 fps, but the data has clips of 6 x 32 x 32 at 5 fps; data sets th"
    ):
        open_probe_data(DataConfig(path=str(tmp_path)), mixture(folder / "held_out"))
