import random

import numpy as np
import pytest
import torch

from t2vgan.errors import UserError
from t2vgan.pipeline.passes import CPU_PASS, MAX_CLIP_PIXELS, NUM_PROBES
from tests.support.pipelines import (
    ALL_MODELS,
    PROMPTS,
    generate,
    load,
    make_generator,
    show_last_bits,
)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def spoil_last_place(video):
    video[-1, :, :, -1, -1] += 1e-6
    return video


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


def test_places_are_compared_once_for_each_length_and_precision():
    pipe, grad_enabled = load("clip_gan"), []
    for name in ("draw_video", "encode_text"):
        method = getattr(pipe.generator, name)

        def watched(*inputs, method=method):
            grad_enabled.append(torch.is_grad_enabled())
            return method(*inputs)

        setattr(pipe.generator, name, watched)
    num_calls = []
    for step, num_frames in enumerate((5, 5, 6, 5, 5)):
        if step == 3:
            pipe.to(dtype=torch.bfloat16)
        pipe.choose_batch_size(num_frames)
        num_calls.append(len(grad_enabled) // 2)
    assert num_calls == [NUM_PROBES * times for times in (1, 1, 2, 3, 3)]
    assert not any(grad_enabled)


def test_the_number_of_threads_comes_back(generator, two_threads):
    generate(generator)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("batch_size", [2, 3, 64])
def test_any_size_of_a_pass_gives_the_same_clips_to_a_last_bit(generator, batch_size):
    one_by_one = generate(generator).astype(int)
    assert abs(generate(generator, batch_size=batch_size) - one_by_one).max() <= 1


@pytest.mark.parametrize("batch_size", [1, 2])
def test_should_stop_is_asked_after_each_batch(generator, batch_size):
    answers = iter([False, True])
    clips = generate(generator, batch_size=batch_size, should_stop=lambda: next(answers))
    expected = generate(generator, batch_size=batch_size)[: 2 * batch_size]
    np.testing.assert_array_equal(clips, expected)


def test_threads_come_back_after_an_error(two_threads):
    generator = make_generator()
    generator.draw_video = None
    with pytest.raises(TypeError):
        generate(generator)
    assert torch.get_num_threads() == 2
