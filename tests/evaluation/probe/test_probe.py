"""A probe learns which way a texture moves, and its file keeps it."""

import dataclasses
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch

from t2vgan.data.dataset import open_dataset
from t2vgan.data.mixture import mix_datasets, single_dataset
from t2vgan.errors import UserError
from t2vgan.evaluation.clip_numbers import draw_prompts, measure_clips
from t2vgan.evaluation.probe import cache
from t2vgan.evaluation.probe.build import build_probe
from t2vgan.evaluation.probe.cache import cache_files, load_or_train_probe
from t2vgan.evaluation.probe.network import (
    ProbeNetwork,
    TextEncoder,
    average,
    average_by_product,
    correlate_frames,
    extract_features,
    resize_clips,
)
from t2vgan.evaluation.probe.probe import ProbeSettings, load_probe, save_probe
from t2vgan.evaluation.probe.targets import Targets
from t2vgan.evaluation.probe.training import (
    ProbeStoppedError,
    ProbeTrainer,
    learning_rate_factor,
)
from t2vgan.evaluation.real_clips import RealClips
from t2vgan.tokenizer import Vocabulary
from tests.support.textures import PROMPTS, draw_textures, write_textures

NUM_CLIPS = 256
SETTINGS = ProbeSettings(num_steps=60)
QUICK = ProbeSettings(num_steps=2)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CACHE_FOLDER", tmp_path / "cache")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return single_dataset(open_dataset(write_textures(tmp_path_factory.mktemp("data"), NUM_CLIPS)))


@pytest.fixture(scope="module")
def probe(data):
    return build_probe(RealClips(data, NUM_CLIPS), SETTINGS, torch.device("cpu"))


@pytest.fixture(scope="module")
def clips():
    frames, sides = draw_textures(200, seed=1)
    return frames, [PROMPTS[side] for side in sides]


def test_a_probe_names_the_way_a_texture_moves(probe, clips):
    """No frame shows it, and shuffled frames do not either."""
    real = probe.info.real
    assert (probe.info.kind, len(probe.info.prompts)) == ("prompt", NUM_CLIPS // 2)
    assert real.accuracy >= 0.95
    assert probe.features.mean(axis=0) == pytest.approx(0, abs=1e-5)
    scales = probe.features.std(axis=0, ddof=1)
    assert np.isclose(scales, 1, atol=1e-4).sum() > 32
    assert np.isclose(scales, 1, atol=1e-4).sum() + (scales < 1e-5).sum() == 64, "or constant"
    assert 0.3 < real.accuracy_frames_shuffled < 0.7
    assert 0.3 < real.accuracy_prompts_shuffled < 0.7
    numbers = measure_clips(*clips, probe)
    assert numbers.agreement.accuracy >= 0.95
    assert numbers.agreement.num_clips == 200
    assert numbers.diversity_pixels == pytest.approx(1, abs=0.1)
    assert numbers.diversity_features == pytest.approx(1, abs=0.2)
    assert numbers.motion_energy == pytest.approx(1, abs=0.1)
    assert numbers.speed_variation == pytest.approx(numbers.speed_variation_real, abs=0.05)


def test_every_fault_moves_its_number(probe, clips):
    frames, prompts = clips
    backwards = measure_clips(frames[:, ::-1], prompts, probe)
    assert backwards.agreement.accuracy <= 0.05
    left, right = PROMPTS.values()
    assert backwards.agreement.confusion[left][right] > 90, "left is named right"
    same = frames[[prompts.index(prompt) for prompt in prompts]]
    assert measure_clips(same, prompts, probe).diversity_pixels == 0
    assert measure_clips(same, prompts, probe).diversity_features == pytest.approx(0, abs=1e-6)
    still = measure_clips(np.repeat(frames[:, :1], 6, axis=1), prompts, probe)
    assert (still.motion_energy, still.speed_variation) == (0, None)
    jumping = measure_clips(frames[:, [0, 0, 2, 2, 4, 4]], prompts, probe)
    assert jumping.speed_variation > 0.5


def test_the_file_keeps_every_bit(probe, clips, tmp_path):
    save_probe(tmp_path / "probe.safetensors", probe)
    loaded = load_probe(tmp_path / "probe.safetensors")
    assert loaded.info == probe.info
    assert loaded.sha256 == probe.sha256
    assert measure_clips(*clips, loaded) == measure_clips(*clips, probe)
    content = bytearray((tmp_path / "probe.safetensors").read_bytes())
    content[-100] ^= 1
    (tmp_path / "probe.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        load_probe(tmp_path / "probe.safetensors")
    with pytest.raises(UserError, match="no such file"):
        load_probe(tmp_path / "missing.safetensors")


def test_it_is_trained_once_and_cached_beside_the_manifest(data, tmp_path, monkeypatch):
    own = single_dataset(open_dataset(write_textures(tmp_path / "data", 144)))
    first = load_or_train_probe(own, settings=QUICK)
    (file,) = (tmp_path / "data").glob("probe-*.safetensors")
    assert file == cache_files(own, QUICK)[0]
    monkeypatch.setattr(cache, "build_probe", None)  # would fail
    assert load_or_train_probe(own, settings=QUICK).sha256 == first.sha256
    assert cache_files(own, SETTINGS)[0] != file, "other settings are another probe"
    assert load_or_train_probe(own, settings=SETTINGS, path=file).sha256 == first.sha256
    with pytest.raises(UserError, match="trained on other data"):
        load_or_train_probe(data, path=write_other(tmp_path, first))


def test_the_cache_is_the_users_where_the_data_cannot_hold_it(data, probe, tmp_path, monkeypatch):
    beside, in_cache = cache_files(data, QUICK)
    mixed = mix_datasets({name: (data.parts[0], Decimal(1)) for name in "ab"})
    assert [path.parent for path in cache_files(mixed, QUICK)] == [tmp_path / "cache"]
    kept = []

    def save(path, _):
        if path == beside:
            raise OSError("read-only")
        kept.append(path)

    monkeypatch.setattr(cache, "build_probe", lambda *_: probe)
    monkeypatch.setattr(cache, "save_probe", save)
    assert load_or_train_probe(data, settings=QUICK).sha256 == probe.sha256
    assert kept == [in_cache]
    monkeypatch.setattr(cache, "save_probe", lambda path, _: kept.append(path))
    load_or_train_probe(data, settings=QUICK)
    assert kept == [in_cache, beside], "once is enough"


def write_other(folder, probe):
    info = probe.info.model_copy(update={"dataset_fingerprint": "0" * 64})
    save_probe(folder / "other.safetensors", dataclasses.replace(probe, info=info))
    return folder / "other.safetensors"


def test_a_damaged_cache_is_trained_again(tmp_path, capsys):
    own = single_dataset(open_dataset(write_textures(tmp_path, 144)))
    first = load_or_train_probe(own, settings=QUICK)
    assert "the probe is trained again" not in capsys.readouterr().err
    cache_files(own, QUICK)[0].write_bytes(b"damaged")
    again = load_or_train_probe(own, settings=QUICK)
    assert again.sha256 == first.sha256, "training gives the same bits for the same seed"
    assert "the probe is trained again" in capsys.readouterr().err


def test_a_training_that_is_stopped_leaves_no_cache(data):
    settings = ProbeSettings(num_steps=3)
    with pytest.raises(ProbeStoppedError):
        load_or_train_probe(data, settings=settings, should_stop=lambda: True)
    assert not any(file.exists() for file in cache_files(data, settings))


def test_no_number_of_threads_changes_a_bit(tmp_path):
    own = RealClips(single_dataset(open_dataset(write_textures(tmp_path, 144))), 144)
    num_threads = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(build_probe(own, QUICK, torch.device("cpu")).sha256)
    finally:
        torch.set_num_threads(num_threads)
    assert len(set(found)) == 1


def test_captions_are_retrieved(tmp_path):
    """Each clip has a caption of its own; what it shares with others is learned."""
    own = write_textures(tmp_path, NUM_CLIPS, captions=True)
    probe = build_probe(
        RealClips(single_dataset(open_dataset(own)), NUM_CLIPS), SETTINGS, torch.device("cpu")
    )
    assert (probe.info.kind, len(probe.info.names)) == ("caption", NUM_CLIPS)
    named = [probe.info.names[p] for p in probe.name_clips(probe.features, probe.info.prompts)]
    pairs = zip(named, probe.info.prompts, strict=True)
    assert np.mean([("left" in name) == ("left" in prompt) for name, prompt in pairs]) >= 0.9
    assert 0 < probe.info.real.accuracy < 0.3, "about one in 16 captions of its side"
    assert probe.info.real.confusion == {}
    prompt = probe.info.prompts[0]
    first, again, other = (probe._draw_others(prompt, number) for number in (0, 0, 1))
    assert first == again != other
    assert len(set(first)) == 31
    known = set(probe.info.prompts) - {prompt}
    assert {probe.info.names[place] for place in first} <= known, "none that trained the probe"
    new = measure_clips(draw_textures(4)[0], ["a new wall slides to the left"] * 4, probe)
    assert new.agreement.num_clips == 4, "captions that real clips do not have are judged too"


def test_the_lines_of_the_documentation_measure_clips(clips, tmp_path, monkeypatch):
    write_textures(tmp_path / "data" / "mine", NUM_CLIPS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cache, "ProbeSettings", lambda: QUICK)
    page = (Path(__file__).parents[3] / "docs" / "evaluating.md").read_text()
    _, lines = page.split("```python\n")
    names = {"frames": clips[0], "prompts": clips[1]}
    exec(lines.split("```")[0], names)
    assert names["numbers"].num_clips == 200


def test_prompts_are_drawn_as_they_occur(probe):
    drawn = draw_prompts(probe.info.prompts, 128)
    assert sorted(drawn) == sorted(probe.info.prompts)
    assert draw_prompts(probe.info.prompts, 300)[:128] == drawn


def test_features_do_not_depend_on_the_other_clips(probe, clips):
    together = extract_features(probe.network, clips[0][:40])
    single = [extract_features(probe.network, clips[0][place : place + 1]) for place in (3, 35)]
    assert np.array_equal(together[[3, 35]], np.concatenate(single))


@pytest.mark.parametrize("num_pairs", [1, 3, 4, 15])
def test_averages_over_time_are_equal_as_a_product(num_pairs):
    values = torch.randn(2, 5, num_pairs)
    torch.testing.assert_close(average_by_product(values), average(values))


def test_correlation_finds_the_displacement():
    frame = torch.randn(1, 1, 16, 16, 8, generator=torch.Generator().manual_seed(0))
    moved = torch.roll(frame, (1, -2), dims=(2, 3))
    found = correlate_frames(torch.cat([frame, moved], dim=1))
    assert found.shape == (1, 8, 8, 49)
    inner = found[:, 2:6, 2:6].argmax(dim=3)
    assert set(inner.flatten().tolist()) == {(3 + 1) * 7 + (3 - 2)}
    same = found[:, 2:6, 2:6].amax(dim=3)
    torch.testing.assert_close(same, torch.full_like(same, 3.0), msg="the cosine is 1, times 3")
    shifted = torch.cat([frame, moved + torch.arange(8.0)], dim=1)
    torch.testing.assert_close(correlate_frames(shifted)[:, 2:6, 2:6], found[:, 2:6, 2:6])


def test_clips_of_any_size_fit():
    assert resize_clips(np.zeros((2, 5, 20, 30, 3), np.uint8)).shape == (2, 5, 32, 32, 3)
    assert resize_clips(np.zeros((1, 40, 64, 64, 3), np.uint8)).shape == (1, 16, 32, 32, 3)
    assert resize_clips(np.zeros((1, 1, 8, 8, 3), np.uint8)).shape == (1, 2, 32, 32, 3)
    checked = np.zeros((1, 8, 64, 64, 3), np.uint8)
    checked[:, :, ::2] = 200
    assert (resize_clips(checked) == 100).all(), "larger pictures are averaged"
    ramp = np.arange(0, 256, 16)[:, None, None] * np.ones((1, 64, 3), int)  # 16 x 64
    for picture, axis in ((ramp, 0), (ramp.transpose(1, 0, 2), 1)):
        (resized, _), *_ = resize_clips(picture[None, None].astype(np.uint8))[..., 0].astype(int)
        steps = np.diff(resized, axis=axis).take(range(1, 30), axis)
        assert (steps == 8).all(), "if a side is smaller, lines are drawn between pixels"
    with pytest.raises(ValueError, match="video must be"):
        ProbeNetwork()(torch.zeros(1, 3, 4, 16, 32))


def test_padding_changes_no_text():
    torch.manual_seed(0)
    text = TextEncoder(9)
    short, long = torch.tensor([[3, 5]]), torch.tensor([[3, 5, 0, 7]])
    padded = text(long, torch.tensor([[True, True, False, False]]))
    torch.testing.assert_close(padded, text(short, short > 0))
    assert not torch.allclose(padded, text(long, torch.ones(1, 4, dtype=torch.bool)))


def test_the_network_normalises_its_input():
    torch.manual_seed(0)
    network, video = ProbeNetwork().eval(), torch.rand(2, 3, 4, 32, 32)
    plain = network((video - 0.25) / 0.5)
    network.input_mean.fill_(0.25)
    network.input_std.fill_(0.5)
    torch.testing.assert_close(network(video), plain)
    network.feature_mean.fill_(3.0)
    network.feature_std.fill_(2.0)
    torch.testing.assert_close(network(video), (plain - 3) / 2)


# --- training -------------------------------------------------------------------------------------


def make_trainer(num_names: int) -> ProbeTrainer:
    names = tuple(map(str, range(num_names)))
    targets = Targets("caption", names, {}, ())
    nothing = torch.empty(0)
    return ProbeTrainer(
        None, None, nothing, np.arange(num_names), targets, Vocabulary(()), QUICK, CPU
    )


def test_the_learning_rate_rises_stays_and_falls():
    factors = [learning_rate_factor(step, 1000) for step in (0, 24, 49, 800, 900, 999)]
    assert factors == [0.02, 0.5, 1, 1, 0.5, 0.005]
    assert [learning_rate_factor(step, 60) for step in (9, 45, 59)] == [0.2, 0.5, 1 / 30]
    assert learning_rate_factor(0, 1) == 0.02


def test_every_epoch_has_each_clip_once_in_a_new_order():
    clips = np.arange(100, 180)
    batches = make_trainer(180)._batches(clips)
    drawn = np.concatenate([next(batches) for _ in range(5)])
    epochs = drawn[:80], drawn[80:]
    assert len(drawn) == 160
    assert all(sorted(epoch) == clips.tolist() for epoch in epochs)
    assert (epochs[0] != epochs[1]).any()
    assert (epochs[0] != clips).any()


def test_captions_of_a_batch_are_among_others_in_order():
    trainer, clips = make_trainer(200), torch.tensor([150, 9, 9, 31])
    first, second = (trainer._candidates(clips, step).tolist() for step in (0, 1))
    for candidates in (first, second):
        assert len(candidates) == 64
        assert candidates == sorted(set(candidates))
        assert {9, 31, 150} <= set(candidates)
    assert first != second
    assert make_trainer(40)._candidates(clips[1:], 0).tolist() == list(range(40))
