import doctest
import random
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch

import t2vgan
from t2vgan.checkpoint.weights import WeightsInfo, save_weights
from t2vgan.config import ClipGanConfig, NotebookGanConfig
from t2vgan.errors import UserError
from t2vgan.media import load_clip
from t2vgan.models import build_generator
from t2vgan.pipeline import (
    CPU_PASS,
    MAX_CLIP_PIXELS,
    TextToVideo,
    draw_latents,
)
from t2vgan.tokenizer import MAX_TOKENS, Vocabulary
from t2vgan.video import to_frames

TINY = ClipGanConfig(latent_size=4, text_size=8, hidden_size=16, channels=4, patch_size=2)
ODD = ClipGanConfig(latent_size=5, text_size=9, hidden_size=17, channels=3, patch_size=3)
PROMPTS = [
    "circle moving up-right",
    "circle shrinking",
    "circle moving diagonally down-left",
    "circle moving up-right",
    "circle rotating counter-clockwise",
]
SEEDS = [7, 0, 2**63 - 1, 8, 7]
VOCABULARY = Vocabulary.from_prompts(PROMPTS)
MODELS = {"clip_gan": (TINY, 16, 24), "notebook_gan": (NotebookGanConfig(), 64, 64)}
# The tails of ODD's tensors fill no vector register, so that kernels treat the last rows otherwise.
ALL_MODELS = MODELS | {"default": (ClipGanConfig(), 64, 64), "odd": (ODD, 36, 60)}


def make_generator(kind="clip_gan"):
    model, height, width = ALL_MODELS[kind]
    torch.manual_seed(1)
    generator = build_generator(model, height=height, width=width, vocabulary_size=len(VOCABULARY))
    return generator.eval()


@pytest.fixture(scope="module", params=list(MODELS))
def generator(request):
    return make_generator(request.param)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def generate(generator, prompts=PROMPTS, seeds=SEEDS, *, num_frames=5, **options):
    pipeline = TextToVideo(generator, VOCABULARY, describe())
    options = {"batch_size": 1} | options
    return pipeline.generate(prompts, seeds, num_frames=num_frames, **options)


@torch.no_grad()
def test_a_clip_is_the_network_on_its_own_prompt_and_seed(generator):
    clips = generate(generator)
    assert clips.shape[:2] == (5, 5)
    assert clips.dtype == np.uint8
    for clip, prompt, seed in zip(clips, PROMPTS, SEEDS, strict=True):
        random = torch.Generator().manual_seed(seed)
        latents = torch.randn(generator.latent_shape(5), generator=random)[None]
        tokens = VOCABULARY.encode([prompt], length=MAX_TOKENS)
        token_ids, token_mask = map(torch.from_numpy, tokens)
        times = torch.tensor([[0, 0.25, 0.5, 0.75, 1]])
        video = generator(latents, token_ids, token_mask, times)[0]
        levels = ((video + 1) * 127.5).clamp(0, 255).permute(1, 2, 3, 0).numpy()
        # Half a level is the rounding; a pass of another size may differ in a number's last bits.
        np.testing.assert_allclose(clip, levels, rtol=0, atol=0.5 + 1e-3)


class Wrapped(torch.nn.Module):
    """A generator whose video (B, 3, T, H, W) is changed."""

    def __init__(self, generator, change):
        super().__init__()
        self.generator, self.change = generator, change
        self.latent_shape = generator.latent_shape

    def forward(self, *inputs):
        return self.change(self.generator(*inputs))


def show_last_bits(video):
    """Amplify a number's last bits to many levels of its pixel."""
    return (video * 2**20).remainder(2) - 1


def spoil_last_place(video):
    video[-1, :, :, -1, -1] += 1e-6
    return video


def load(kind, change=lambda video: video, device="cpu"):
    model, height, width = ALL_MODELS[kind]
    info = describe(model=model, height=height, width=width)
    return TextToVideo(Wrapped(make_generator(kind).to(device), change), VOCABULARY, info)


@pytest.mark.parametrize("kind", ALL_MODELS)
@pytest.mark.parametrize("num_frames", [1, 6])
def test_a_clip_has_the_same_bits_in_any_company(kind, num_frames, two_threads):
    """Draw each clip by itself and among others.

    Prompts of two to four words, every place in a pass, passes filled up, 1 to 3 threads.
    """
    pipeline = load(kind, show_last_bits)
    cases = [(prompt, seed) for prompt in sorted(set(PROMPTS)) for seed in range(4)]

    def draw(chosen):
        prompts, seeds = zip(*chosen, strict=True)
        return pipeline.generate(prompts, seeds, num_frames=num_frames)

    single = {case: draw([case])[0] for case in cases}
    shuffle = random.Random(0)
    for num_clips in (2, 7, 8, 9, 16):
        torch.set_num_threads(1 + num_clips % 3)
        chosen = shuffle.sample(cases, num_clips)
        for case, clip in zip(chosen, draw(chosen), strict=True):
            np.testing.assert_array_equal(clip, single[case])


def test_clips_share_a_pass_where_that_changes_nothing():
    pipeline = load("default")
    most_clips, most_pixels = CPU_PASS
    assert pipeline.choose_batch_size(10) == most_clips == 8
    assert pipeline.choose_batch_size(most_pixels // (64 * 64 * 3)) == 2  # halves, not thirds
    assert pipeline.choose_batch_size(MAX_CLIP_PIXELS // (64 * 64)) == 1


def test_clips_that_are_too_large_are_refused():
    """Weights of any origin may claim any number of frames."""
    with pytest.raises(UserError, match=r"clips of 65537 frames of 64x64 are too large: at most"):
        load("default").choose_batch_size(MAX_CLIP_PIXELS // (64 * 64) + 1)


def test_clips_do_not_share_a_pass_where_places_differ():
    assert load("clip_gan").choose_batch_size(5) == CPU_PASS[0]
    assert load("clip_gan", spoil_last_place).choose_batch_size(5) == 1


def test_the_number_of_threads_comes_back(generator, two_threads):
    generate(generator)
    assert torch.get_num_threads() == 2


def test_prompt_and_seed_both_matter(generator):
    clips = generate(
        generator, ["circle shrinking", "circle shrinking", "circle moving"], [1, 2, 1]
    ).astype(int)
    assert abs(clips[0] - clips[1]).max() > 0
    assert abs(clips[0] - clips[2]).max() > 0


def test_the_caller_keeps_its_random_state(generator):
    before = torch.get_rng_state()
    generate(generator)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("batch_size", [2, 3, 64])
def test_any_size_of_a_pass_gives_the_same_clips_to_a_last_bit(generator, batch_size):
    one_by_one = generate(generator).astype(int)
    assert abs(generate(generator, batch_size=batch_size) - one_by_one).max() <= 1


@torch.no_grad()
def test_as_many_frames_as_trained_are_drawn_at_their_own_times():
    generator = make_generator("clip_gan")
    num_frames = describe().num_frames
    latents = draw_latents(generator.latent_shape(num_frames), SEEDS[:1])
    token_ids, token_mask = map(torch.from_numpy, VOCABULARY.encode(PROMPTS[:1], length=MAX_TOKENS))
    times = torch.linspace(0, 1, num_frames).unsqueeze(0)
    expected = to_frames(generator(latents, token_ids, token_mask, times)).numpy()
    clips = generate(generator, PROMPTS[:1], SEEDS[:1], num_frames=num_frames)
    np.testing.assert_array_equal(clips, expected)


def test_more_frames_start_and_end_as_the_trained_ones_do():
    generator = make_generator("clip_gan")
    coarse = generate(generator, num_frames=5).astype(int)
    fine = generate(generator, num_frames=9).astype(int)
    assert abs(fine[:, [0, -1]] - coarse[:, [0, -1]]).max() <= 1
    assert abs(fine[:, 1::2] - coarse[:, 1:]).max() > 1
    assert generate(generator, num_frames=1).shape[1] == 1


def test_between_trained_times_a_generator_is_asked_for_trained_times_only():
    generator = make_generator("clip_gan")
    asked = []
    generator.time_features.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[0]))
    generate(generator, PROMPTS[:1], SEEDS[:1], num_frames=64)
    assert torch.equal(asked[0], torch.tensor([[0, 0.25, 0.5, 0.75, 1]]))


def test_latents_belong_to_their_seeds():
    latents = draw_latents((3, 4), [5, 6, 5])
    assert latents.shape == (3, 3, 4)
    assert torch.equal(latents[0], latents[2])
    assert not torch.equal(latents[0], latents[1])
    assert torch.equal(draw_latents((3, 4), [6])[0], latents[1])


@pytest.mark.parametrize("batch_size", [1, 2])
def test_should_stop_is_asked_after_each_batch(generator, batch_size):
    answers = iter([False, True])
    clips = generate(generator, batch_size=batch_size, should_stop=lambda: next(answers))
    expected = generate(generator, batch_size=batch_size)[: 2 * batch_size]
    np.testing.assert_array_equal(clips, expected)


def test_unknown_words_are_refused_before_any_work():
    generator = make_generator()
    generator.forward = None  # calling it would raise a TypeError
    with pytest.raises(UserError, match=r"'shrinkng' \(nearest known: shrinking"):
        generate(generator, ["circle shrinking", "circle shrinkng"], [0, 1])
    with pytest.raises(UserError, match="no words"):
        generate(generator, ["circle shrinking", " "], [0, 1])


def test_unknown_words_can_be_passed_over():
    generator = make_generator()
    clips = generate(
        generator, ["purple circle shrinking", "circle shrinking"], [3, 3], allow_unknown=True
    )
    np.testing.assert_array_equal(clips[0], clips[1])


def test_threads_come_back_after_an_error(two_threads):
    generator = make_generator()
    generator.forward = None
    with pytest.raises(TypeError):
        generate(generator)
    assert torch.get_num_threads() == 2


# --- loading -----------------------------------------------------------------------------------


def describe(**changes):
    fields = {
        "model": TINY,
        "num_frames": 5,
        "height": 16,
        "width": 24,
        "fps": 10,
        "words": VOCABULARY.words,
        "prompts": PROMPTS[:3],
        "held_out_prompts": (),
        "step": 3,
        "clips_seen": 48,
        "t2vgan_version": "0",
    }
    return WeightsInfo(**fields | changes)


def test_the_documented_example_saves_a_clip(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder(recurse=False).find(TextToVideo)
    assert doctest.DocTestRunner().run(example) == (0, 5)
    assert load_clip("circle.gif").shape == (10, 64, 64, 3)


def test_importing_the_package_does_not_load_torch():
    code = "import sys, t2vgan; assert 'torch' not in sys.modules; t2vgan.TextToVideo"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Texttovideo'"):
        t2vgan.Texttovideo  # noqa: B018


@pytest.mark.parametrize(
    ("prompts", "seeds"), [([], []), (["circle"], [0, 1]), ("circle", [0] * 6)]
)
def test_prompts_and_seeds_are_lists_of_equal_length(prompts, seeds):
    with pytest.raises(ValueError, match="equal length"):
        load("clip_gan").generate(prompts, seeds)


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
        {"height": 8 * 10**8},
        {"model": NotebookGanConfig(), "height": 64, "width": 64},
    ],
)
def test_sizes_that_a_file_claims_but_does_not_hold_are_never_allocated(tmp_path, changes):
    path = tmp_path / "weights.safetensors"
    save_weights(path, make_generator().state_dict(), describe(**changes))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"weights\.safetensors: describes a larger model"):
        TextToVideo.from_pretrained(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


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


@pytest.mark.gpu
def test_on_a_gpu_the_same_bytes_again_and_singly():
    pipeline = load("default", show_last_bits, "cuda")
    clips = pipeline.generate(PROMPTS, SEEDS)
    np.testing.assert_array_equal(pipeline.generate(PROMPTS, SEEDS), clips)
    single = pipeline.generate(PROMPTS[2:3], SEEDS[2:3])
    np.testing.assert_array_equal(single[0], clips[2])
    clips = generate(make_generator("default").to("cuda")).astype(int)
    assert abs(clips - generate(make_generator("default"))).max() <= 2
