"""Tensors that are copied, grown, resized or fresh."""

import torch

from t2vgan.checkpoint.transfer import match_rows, resize_layout, transfer
from t2vgan.models import build_discriminator, build_generator
from t2vgan.training.initial_weights import list_grids
from tests.support.small_networks import SCENE, SMALL

PARTS = ("weight", "bias")
ROWS = {0: 0}
SQUARE = (2, 2)


def generator(height: int = 32, width: int = 48, words: int = 3, **changes):
    model = SMALL.model_copy(update=changes)
    return build_generator(model, height=height, width=width, vocabulary_size=words + 1)


def test_rows_follow_the_words():
    assert match_rows(["a", "b"], ["b", "c", "a"]) == {0: 0, 1: 2, 3: 1}
    source = {"text_encoder.words.weight": torch.arange(3.0)[:, None]}
    target = {"text_encoder.words.weight": torch.full((4, 1), 9.0)}
    fitted = transfer(source, target, rows={0: 0, 1: 2, 3: 1})
    assert fitted.tensors["text_encoder.words.weight"].flatten().tolist() == [0, 2, 9, 1]
    assert fitted.grown == ["text_encoder.words.weight"]
    assert target["text_encoder.words.weight"].unique().tolist() == [9], "the target is unchanged"


def test_each_tensor_is_reported_by_how_it_was_obtained():
    words = "text_encoder.words.weight"
    source = {
        "same": torch.ones(2), words: torch.ones(3, 1), "layout.bias": torch.ones(4),
        "other": torch.ones(2), "old": torch.ones(1),
    }  # fmt: skip
    target = {
        "same": torch.zeros(2), words: torch.zeros(4, 1), "layout.bias": torch.zeros(8),
        "other": torch.zeros(3), "new": torch.zeros(1),
    }  # fmt: skip
    fitted = transfer(source, target, rows={0: 0, 1: 2}, grids={"layout": (SQUARE, (2, 4))})
    assert str(fitted) == (
        "1 tensors copied, 1 grown (text_encoder.words.weight), 1 resized (layout.bias),"
        " 2 fresh (other, new), 1 unused (old)"
    )
    assert fitted.copied == ["same"]
    known = transfer(source, {words: torch.zeros(2, 1)}, rows={0: 0, 1: 2})
    assert (known.copied, known.grown) == ([words], [])
    assert transfer(source, {words: torch.zeros(2, 5)}, rows={0: 0, 1: 2}).fresh == [words]


def test_tensors_of_another_type_are_fresh():
    fitted = transfer({"a": torch.zeros(2).double()}, {"a": torch.ones(2)}, rows=ROWS)
    assert (fitted.fresh, fitted.copied) == (["a"], [])
    assert fitted.tensors["a"].tolist() == [1, 1]


def test_every_cell_counts_on_a_coarser_grid():
    for cell in range(8):
        resized = resize_layout(torch.eye(8)[cell], torch.zeros(2), ((1, 8), (1, 2)))
        assert resized.sum() > 0.15, "about a fourth, less at the border"


def test_what_is_no_whole_number_of_maps_is_not_resized():
    assert resize_layout(torch.zeros(7), torch.zeros(4), ((2, 3), (2, 2))) is None


def test_prompts_of_known_words_draw_the_same_bits_with_a_larger_vocabulary():
    before, after = generator(words=3), generator(words=5)
    rows, grids = {0: 0, 2: 1, 4: 2, 5: 3}, {"layout": ((2, 3), (2, 3))}
    fitted = transfer(before.state_dict(), after.state_dict(), rows=rows, grids=grids)
    after.load_state_dict(fitted.tensors)
    assert (fitted.resized, fitted.fresh, fitted.unused) == ([], [], [])
    latents, times = torch.randn(2, 5), torch.rand(2, 4)
    ids = torch.tensor([[1, 2], [3, 0]])
    new_ids = torch.tensor([[2, 4], [5, 0]])
    videos = [
        network(latents, numbers, numbers > 0, times)
        for network, numbers in ((before, ids), (after, new_ids))
    ]
    assert torch.equal(*videos)


def test_a_layout_is_resized_on_its_grid():
    """A constant map stays that constant; a sum over it keeps its size."""
    weight = torch.tensor([1.0, 2.0]).repeat_interleave(4)  # two maps on a grid of 2x2
    wanted = {"layout.bias": torch.zeros(2 * 4 * 6), "layout.weight": torch.zeros(1, 2 * 4 * 6)}
    source = {"layout.bias": weight, "layout.weight": weight[None]}
    fitted = transfer(source, wanted, rows=ROWS, grids={"layout": (SQUARE, (4, 6))})
    assert fitted.resized == ["layout.bias", "layout.weight"]
    assert torch.allclose(fitted.tensors["layout.bias"].view(2, 24), torch.tensor([[1.0], [2.0]]))
    sums = fitted.tensors["layout.weight"].view(2, 24).sum(1)
    assert torch.allclose(sums, weight.view(2, 4).sum(1))


def test_another_frame_size_resizes_only_the_layouts():
    small, large = generator(32, 32), generator(64, 64)
    grids = {"layout": (SQUARE, (4, 4))}
    fitted = transfer(small.state_dict(), large.state_dict(), rows={0: 0, 1: 1, 2: 2, 3: 3},
                      grids=grids)  # fmt: skip
    assert fitted.resized == ["layout.weight", "layout.bias"]
    assert fitted.fresh == []
    sizes = {"vocabulary_size": 4, "frames_per_clip": 3, "recovered_latents": 2}
    small, large = (build_discriminator(SMALL, height=n, width=n, **sizes) for n in (32, 64))
    fitted = transfer(small.state_dict(), large.state_dict(), rows={0: 0, 1: 1, 2: 2, 3: 3},
                      grids=grids)  # fmt: skip
    assert fitted.resized == ["layout.weight"]
    assert fitted.fresh == []


def test_a_scene_is_resized_too():
    """Every layer of a generator comes along to another frame size, also of another shape."""
    for height, width in ((64, 64), (64, 96)):
        small, large = (
            build_generator(SCENE, height=rows, width=columns, vocabulary_size=4)
            for rows, columns in ((32, 32), (height, width))
        )
        before, after = list_grids(SCENE, 32, 32), list_grids(SCENE, height, width)
        grids = {name: (before[name], after[name]) for name in before}
        fitted = transfer(small.state_dict(), large.state_dict(), rows={0: 0, 1: 1, 2: 2, 3: 3},
                          grids=grids)  # fmt: skip
        layers = ("layout", "scene.layout")
        assert set(fitted.resized) == {f"{name}.{part}" for name in layers for part in PARTS}
        assert fitted.fresh == []


def test_what_does_not_fit_is_fresh_and_named():
    other = generator(latent_size=9, num_sprites=1)
    fitted = transfer(generator().state_dict(), other.state_dict(), rows=ROWS, grids=None)
    assert "content.0.weight" in fitted.fresh
    assert torch.equal(fitted.tensors["content.0.weight"], other.state_dict()["content.0.weight"])
    assert any(name.startswith("sprites.") for name in fitted.fresh)
    assert "content.0.weight" in str(fitted)
    assert str(fitted).startswith(f"{len(fitted.copied)} tensors copied")
