import resource

import numpy as np
import pytest
import torch

from t2vgan.checkpoint.weights import save_weights
from t2vgan.config import NotebookGanConfig
from t2vgan.errors import UserError
from t2vgan.models import build_generator
from t2vgan.pipeline import TextToVideo
from t2vgan.pipeline.loading import check_claimed_size
from t2vgan.pipeline.passes import MAX_CLIP_PIXELS
from t2vgan.tokenizer import Vocabulary
from tests.support.pipelines import MODELS, TINY, VOCABULARY, describe, generate, make_generator

COARSE = TINY.model_copy(update={"hidden_size": 1, "channels": 1, "patch_size": 16})


@pytest.mark.parametrize("kind", MODELS)
def test_a_loaded_generator_makes_the_same_clips(tmp_path, kind):
    model, height, width = MODELS[kind]
    generator = make_generator(kind)
    info = describe(model=model, height=height, width=width)
    save_weights(tmp_path / "weights.safetensors", generator.state_dict(), info)
    for path in (tmp_path, tmp_path / "weights.safetensors"):
        loaded = TextToVideo.from_pretrained(path)
        assert loaded.info == info
        assert loaded.vocabulary == VOCABULARY
        assert not loaded.generator.training
        np.testing.assert_array_equal(generate(loaded.generator), generate(generator))


def test_weights_without_pixel_statistics_make_the_same_clips(tmp_path):
    generator = make_generator()
    tensors = generator.state_dict()
    earlier = {name: tensors[name] for name in tensors if not name.startswith("pixels.")}
    assert len(earlier) == len(tensors) - 2
    save_weights(tmp_path / "weights.safetensors", earlier, describe())
    loaded = TextToVideo.from_pretrained(tmp_path)
    np.testing.assert_array_equal(generate(loaded.generator), generate(generator))


@pytest.mark.parametrize(
    "changes",
    [
        {"words": VOCABULARY.words[:-1]},
        {"width": 16},
        {"model": NotebookGanConfig(), "height": 64, "width": 64},
    ],
)
def test_weights_that_do_not_fit_their_description(tmp_path, changes):
    path = tmp_path / "weights.safetensors"
    filler = {"unused": torch.zeros(3_000_000)}
    save_weights(path, make_generator().state_dict() | filler, describe(**changes))
    with pytest.raises(UserError, match=r"weights\.safetensors: tensor \S+ is .* model described"):
        TextToVideo.from_pretrained(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": TINY.model_copy(update={"hidden_size": 10**9})},
        {"model": TINY.model_copy(update={"hidden_size": 20_000})},  # 1.6 GB a layer
        {"model": NotebookGanConfig(), "height": 64, "width": 64},
        {"height": 8 * 10**8},
        {"model": COARSE, "height": 2**23, "width": 64},  # 400 MB of coordinates
        {"height": 2**13, "width": 2**13},
    ],
)
def test_sizes_that_a_file_claims_but_does_not_hold_are_never_allocated(tmp_path, changes):
    path = tmp_path / "weights.safetensors"
    filler = {"unused": torch.zeros(600_000)}
    save_weights(path, make_generator().state_dict() | filler, describe(**changes))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"weights\.safetensors: (describes a l|.*too l)arger?"):
        TextToVideo.from_pretrained(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


LARGEST = {"num_frames": MAX_CLIP_PIXELS // 2**18, "height": 2**13, "width": 2**5}


@pytest.mark.parametrize(
    ("largest", "too_large"),
    [
        ({"num_frames": 2**16}, {"num_frames": 2**16 + 1}),
        ({"height": 2**13}, {"height": 2**13 + 1}),
        ({"width": 2**13}, {"width": 2**13 + 1}),
        (LARGEST, LARGEST | {"width": 2**5 + 1}),
    ],
)
def test_each_size_that_a_file_may_claim_has_a_limit(largest, too_large):
    one = {"num_frames": 1, "height": 1, "width": 1}
    check_claimed_size("x.safetensors", describe(**one | largest))
    with pytest.raises(UserError, match=r"weights x\.safetensors: clips of .* are too large"):
        check_claimed_size("x.safetensors", describe(**one | too_large))


def test_missing_and_extra_tensors_are_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    tensors = make_generator().state_dict()
    first = min(tensors)
    renamed = {name if name != first else "aaa": tensor for name, tensor in tensors.items()}
    save_weights(path, renamed, describe())
    with pytest.raises(UserError, match=r"tensor aaa is \(.*\) float32, but absent in the model"):
        TextToVideo.from_pretrained(path)
    save_weights(path, {**tensors, first: torch.zeros(10_000)}, describe())
    with pytest.raises(UserError, match=rf"tensor {first} is \(10000,\) float32, but \("):
        TextToVideo.from_pretrained(path)


@pytest.mark.parametrize(("tokenizer", "differ"), [(2, True), (1, False)])
def test_words_of_other_scripts_are_drawn(tmp_path, tokenizer, differ):
    """A boy or a girl runs, in Hindi; weights of earlier versions read both as they did."""
    prompts = ["लड़का दौड़ता है", "लड़की दौड़ती है"]
    vocabulary = Vocabulary.from_prompts(prompts, tokenizer=tokenizer)
    torch.manual_seed(1)
    generator = build_generator(TINY, height=16, width=24, vocabulary_size=len(vocabulary))
    info = describe(words=vocabulary.words, prompts=prompts, tokenizer=tokenizer)
    save_weights(tmp_path / "w.safetensors", generator.state_dict(), info)
    pipeline = TextToVideo.from_pretrained(tmp_path / "w.safetensors")
    assert pipeline.vocabulary == vocabulary
    boy, girl = pipeline.generate(prompts, seeds=[3, 3])
    assert (boy != girl).any() == differ
