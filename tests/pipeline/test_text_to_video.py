import doctest
import re
import time

import numpy as np
import pytest
import torch

from t2vgan.errors import UserError
from t2vgan.media import load_clip
from t2vgan.pipeline import TextToVideo, prompt_reader
from t2vgan.pipeline.latents import draw_latents
from t2vgan.pipeline.sentence_encoder import is_installed
from t2vgan.tokenizer import MAX_TOKENS
from t2vgan.video import to_frames
from tests.support.pipelines import (
    PROMPTS,
    SEEDS,
    VOCABULARY,
    describe,
    generate,
    load,
    make_generator,
    show_last_bits,
)


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


def test_prompts_that_say_nothing_are_refused_before_any_work():
    generator = make_generator()
    generator.draw_video = None  # calling it would raise a TypeError
    with pytest.raises(UserError, match=r"no word that the model knows; known prompts: \"circle"):
        generate(generator, ["circle shrinking", "xyzzy"], [0, 1])
    with pytest.raises(UserError, match="strict: only known prompts"):
        generate(generator, ["circle shrinking", "circle shrinkng"], [0, 1], strict=True)
    with pytest.raises(UserError, match="no words"):
        generate(generator, ["circle shrinking", " "], [0, 1])


@pytest.mark.parametrize(
    "typed", ["A circle SHRINKING.", "a ball that gets smaller", "cirle shrinkng"]
)
def test_prompts_are_read_as_those_of_training_and_the_log_says_so(typed, caplog):
    generator = make_generator()
    clips = generate(generator, [typed, "circle shrinking"], [3, 3])
    np.testing.assert_array_equal(clips[0], clips[1])
    lines = [record.getMessage() for record in caplog.records]
    if typed.startswith("A"):
        assert not lines
    else:
        (line,) = lines
        assert line.startswith(f'prompt "{typed}" is read as "circle shrinking" (nearest training')


def test_the_log_obeys_no_control_characters(caplog):
    generate(make_generator(), ["circle \x1b[2J shrinking"], [3])
    (record,) = caplog.records
    assert "\x1b" not in record.getMessage()


@pytest.mark.skipif(not is_installed(), reason="needs the extra text: MiniLM")
@pytest.mark.parametrize("has_encoder", [True, False])
def test_words_of_like_meaning_are_known_where_the_encoder_is_installed(has_encoder, monkeypatch):
    monkeypatch.setattr(prompt_reader, "is_installed", lambda: has_encoder)
    (match,) = load("clip_gan").match_prompts("hoop shrinking").values()
    assert match.read_as == "circle shrinking"
    assert ("is read as" in match.note, "unlike any" in match.note) == (
        has_encoder,
        not has_encoder,
    )


def test_unknown_words_can_be_passed_over(caplog):
    generator = make_generator()
    clips = generate(
        generator, ["purple circle shrinking", "circle shrinking"], [3, 3], allow_unknown=True
    )
    np.testing.assert_array_equal(clips[0], clips[1])
    assert not caplog.messages, "no prompt is read as another"


def test_the_documented_example_saves_a_clip(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder(recurse=False).find(TextToVideo)
    assert doctest.DocTestRunner().run(example) == (0, 5)
    assert load_clip("circle-1.gif").shape == (10, 64, 64, 3)


@pytest.mark.parametrize(
    ("prompts", "seeds"), [([], []), (["circle"], [0, 1]), ("circle", [0] * 6)]
)
def test_prompts_and_seeds_are_lists_of_equal_length(prompts, seeds):
    with pytest.raises(ValueError, match="equal length"):
        load("clip_gan").generate(prompts, seeds)


# --- calls -------------------------------------------------------------------------------------


def test_video_i_of_each_prompt_is_drawn_from_seed_plus_i():
    pipe = load("clip_gan")
    videos = pipe(PROMPTS[:2], num_videos=3, seed=7)
    prompts = [prompt for prompt in PROMPTS[:2] for _ in range(3)]
    np.testing.assert_array_equal(videos.videos, pipe.generate(prompts, [7, 8, 9] * 2))
    assert videos.prompts == tuple(prompts)
    single = pipe(PROMPTS[1], seed=8, num_frames=9)
    assert single.videos.shape == (1, 9, 16, 24, 3)
    among = pipe(PROMPTS[:2], num_videos=3, seed=7, num_frames=9)
    np.testing.assert_array_equal(single.videos[0], among.videos[4])


def test_clips_come_one_by_one_as_they_are_drawn():
    pipe, drawn = load("clip_gan"), []
    draw_video = pipe.generator.draw_video
    pipe.choose_batch_size(5)
    pipe.generator.draw_video = lambda *inputs: drawn.append(1) or draw_video(*inputs)
    prompts = PROMPTS * 40
    clips = pipe.iter_clips(prompts, range(200))
    first = next(clips)
    time.sleep(0.3)
    assert len(drawn) < 200 // 8, "a slow reader holds the drawing up"
    np.testing.assert_array_equal([first, *clips], pipe.generate(prompts, range(200)))


def test_truncation_makes_clips_of_one_prompt_more_alike(generator):
    pipe = TextToVideo(generator, VOCABULARY, describe())

    def spread(truncation):
        return (
            pipe(PROMPTS[0], num_videos=6, truncation=truncation).videos.astype(int).std(0).mean()
        )

    assert spread(1.0) > spread(0.5) > spread(0.0) == 0


def test_interpolation_begins_and_ends_with_the_clips_of_its_ends(generator):
    pipe = TextToVideo(generator, VOCABULARY, describe())
    path = pipe.interpolate(PROMPTS[0], PROMPTS[1], num_videos=5, seed_a=3, seed_b=4)
    assert path.videos.shape[:2] == (5, 5)
    ends = pipe.generate(PROMPTS[:2], [3, 4])
    np.testing.assert_array_equal(path.videos[[0, -1]], ends)
    steps = abs(np.diff(path.videos.astype(float), axis=0)).mean(axis=(1, 2, 3, 4))
    assert (steps > 0).all()
    assert steps.max() < abs(ends[0].astype(float) - ends[1]).mean()
    assert path.prompts[1] == f"{PROMPTS[0]} > {PROMPTS[1]}, 25 %"


def test_interpolation_between_equal_ends_stands_still(generator):
    pipe = TextToVideo(generator, VOCABULARY, describe())
    path = pipe.interpolate(PROMPTS[0], PROMPTS[0], num_videos=3, seed_a=3, seed_b=3).videos
    np.testing.assert_allclose(path[1].astype(int), path[0], atol=1)
    assert (pipe.interpolate(PROMPTS[0], PROMPTS[0], seed_a=3).videos[1] != path[0]).any()
    assert (pipe.interpolate(PROMPTS[0], PROMPTS[1], seed_b=0).videos[1] != path[0]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": []}, "at least one prompt"),
        ({"prompt": "xyzzy"}, "no word that the model knows"),
        ({"prompt": "circle xyzzy", "strict": True}, "strict: only known prompts"),
        ({"num_videos": 0}, "num_videos=0: must be at least 1"),
        ({"num_videos": -4}, "num_videos=-4: must be at least 1"),
        ({"num_frames": 0}, "num_frames=0: must be between 1 and 2048"),
        ({"seed": -1}, "seed=-1: must be between 0 and"),
        ({"truncation": 1.5}, "truncation=1.5: must be between 0"),
        ({"truncation": float("nan")}, "truncation=nan: must be between 0"),
        ({"output": "gif"}, "output='gif' must be one of numpy, pil, torch"),
        ({"num_videos": 10**9}, "1,000,000,000 videos are too many for one call"),
        ({"prompt": None}, "prompt=None: must be text"),
        ({"prompt": [b"circle"]}, "prompt=b'circle': must be text"),
        ({"seed": "7"}, "seed='7': must be an integer"),
        ({"num_videos": 2.5}, "num_videos=2.5: must be an integer"),
        ({"num_frames": 4.0}, "num_frames=4.0: must be an integer"),
        ({"truncation": "x"}, "truncation=x: must be between 0"),
    ],
)
def test_bad_calls_are_refused_before_any_work(arguments, message):
    pipe = load("clip_gan")
    pipe.generator.draw_video = None
    with pytest.raises(UserError, match=message):
        pipe(**{"prompt": PROMPTS[0]} | arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": [-1]}, "seed=-1: must be between 0 and"),
        ({"seeds": [2**63]}, "seed=9223372036854775808: must be between 0 and"),
        ({"seeds": [1.5]}, "seed=1.5: must be an integer"),
        ({"num_frames": 0}, "num_frames=0: must be between 1 and 2048"),
        ({"truncation": 7}, "truncation=7: must be between 0"),
        ({"batch_size": 0}, "batch_size=0: must be at least 1"),
    ],
)
def test_lists_of_clips_are_checked_as_calls_are(arguments, message):
    pipe = load("clip_gan")
    with pytest.raises(UserError, match=message):
        pipe.generate(**{"prompts": PROMPTS[:1], "seeds": [1]} | arguments)


def test_numbers_may_be_of_numpy():
    pipe = load("clip_gan")
    numbers = {"num_videos": np.int64(2), "seed": np.int32(3), "num_frames": np.int64(4)}
    found = pipe(PROMPTS[0], **numbers, truncation=np.float32(0.5)).videos
    expected = pipe(PROMPTS[0], num_videos=2, seed=3, num_frames=4, truncation=0.5).videos
    np.testing.assert_array_equal(found, expected)
    ends = pipe.interpolate(*PROMPTS[:2], num_videos=2, seed_a=np.int64(3), num_frames=4).videos
    np.testing.assert_array_equal(ends[0], pipe(PROMPTS[0], seed=3, num_frames=4).videos[0])


def test_one_prompt_is_matched_whole():
    assert list(load("clip_gan").match_prompts(PROMPTS[0])) == [PROMPTS[0]]


def test_an_interpolation_has_two_ends():
    with pytest.raises(UserError, match="num_videos=1: must be at least 2"):
        load("clip_gan").interpolate(*PROMPTS[:2], num_videos=1)


def test_other_precisions_draw_nearly_the_same():
    pipe = load("clip_gan")
    exact = pipe(PROMPTS[0], num_videos=3).videos.astype(int)
    assert pipe.to(torch.bfloat16) is pipe
    assert (pipe.device.type, pipe.dtype) == ("cpu", torch.bfloat16)
    coarse = pipe(PROMPTS[0], num_videos=3).videos
    assert 0 < abs(coarse - exact).max() <= 8
    pipe.to("cpu", torch.float32)
    np.testing.assert_array_equal(pipe(PROMPTS[0], num_videos=3).videos, exact)


def test_a_notebook_prints_one_line_instead_of_the_network():
    assert re.fullmatch(r"<TextToVideo: \d+ prompts, .* step \d+>", repr(load("clip_gan")))


def test_devices_and_types_that_do_not_exist():
    with pytest.raises(UserError, match=r"dtype=torch.int8: must be one of torch.float32, "):
        load("clip_gan").to(dtype=torch.int8)
    with pytest.raises(UserError, match=r"device=toaster: .*; use cpu"):
        load("clip_gan").to("toaster")


@pytest.mark.gpu
def test_on_a_gpu_the_same_bytes_again_and_singly():
    pipeline = load("default", show_last_bits, "cuda")
    clips = pipeline.generate(PROMPTS, SEEDS)
    np.testing.assert_array_equal(pipeline.generate(PROMPTS, SEEDS), clips)
    single = pipeline.generate(PROMPTS[2:3], SEEDS[2:3])
    np.testing.assert_array_equal(single[0], clips[2])
    clips = generate(make_generator("default").to("cuda")).astype(int)
    assert abs(clips - generate(make_generator("default"))).max() <= 2
