"""What a step draws: a function of seed, step and place in the global batch."""

import dataclasses

import numpy as np
import pytest
import torch

from t2vgan.data.batch_plan import BatchPlan
from t2vgan.data.loader import Batch
from t2vgan.gan.batch import BatchPreparer, MicroBatch, StepInputs, choose_frames, draw_latents
from t2vgan.gan.mismatched_prompts import HardPrompts
from t2vgan.gan.packed_tensors import PackedTensors
from t2vgan.tokenizer import Vocabulary
from tests.support.recorded_ops import RecordedOps

NUM_FRAMES, HEIGHT, WIDTH, GLOBAL = 7, 4, 6, 8
NUM_MISMATCHED = 3
NUM_TOKENS = 3  # one more than prompts have
PROMPTS = [
    f"circle {number}"
    for number in ["one", "two", "three", "four", "five", "six", "seven", "eight"]
]
VOCABULARY = Vocabulary.from_prompts(PROMPTS)


class OneOfSeveral:
    """A rank's view of the others: what all of them gather in `GLOBAL` rows."""

    device = torch.device("cpu")

    def gather_rows(self, local: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(VOCABULARY.encode(PROMPTS, length=local.shape[1])[0])


def part(rank: int, world_size: int, step: int = 3) -> Batch:
    """Rank's part of a global batch whose pixels tell clip and frame: 10 * clip + frame."""
    size = GLOBAL // world_size
    positions = np.arange(rank * size, (rank + 1) * size)
    values = 10 * positions[:, None] + np.arange(NUM_FRAMES)
    frames = np.broadcast_to(
        values[:, :, None, None, None], (size, NUM_FRAMES, HEIGHT, WIDTH, 3)
    ).astype(np.uint8)
    return Batch(
        step=step,
        frames=frames,
        prompts=[PROMPTS[i] for i in positions],
        keys=[str(i) for i in positions],
        positions=positions,
        bad_samples=[],
    )


def prepare(batch: Batch, **options) -> list[MicroBatch]:
    return load(batch, **options).micro_batches()


def load(
    batch: Batch,
    *,
    micro_size: int = 2,
    shares_latents: bool = False,
    noise_every_steps: int = 0,
) -> StepInputs:
    plan = BatchPlan(GLOBAL, len(batch.positions), micro_size)
    preparer = BatchPreparer(
        OneOfSeveral(),
        VOCABULARY,
        HardPrompts(dict.fromkeys(PROMPTS, 1.0), 0.5),
        plan,
        seed=5,
        frames_per_clip=3,
        latent_shape=(4,),
        shares_latents=shares_latents,
        num_tokens=NUM_TOKENS,
        mismatched_prompts=NUM_MISMATCHED,
        augmented_share=0.5,
        noise_every_steps=noise_every_steps,
    )
    return preparer.load(preparer.build(batch))


def joined(parts: list[MicroBatch]) -> dict[str, torch.Tensor]:
    return {
        name: torch.cat([micro_batch.tensors[name] for micro_batch in parts])
        for name in parts[0].tensors
    }


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_and_micro_batches_split_the_same_draw(world_size):
    whole = joined(prepare(part(0, 1), micro_size=GLOBAL))
    split = joined(
        [
            micro_batch
            for rank in range(world_size)
            for micro_batch in prepare(part(rank, world_size), micro_size=1)
        ]
    )
    for name, expected in whole.items():
        assert torch.equal(split[name], expected), name


def test_a_graph_makes_the_micro_batches_of_later_steps():
    capture, first = RecordedOps(), load(part(0, 1, step=3))
    own = dataclasses.replace(first, tensors=[tensor.clone() for tensor in first.tensors])
    replay = capture(own.micro_batches)
    for step in (3, 4, 5):
        inputs = load(part(0, 1, step))
        for target, source in zip(own.tensors, inputs.tensors, strict=True):
            target.copy_(source)
        found, expected = joined(replay()), joined(inputs.micro_batches())
        assert all(torch.equal(found[name], expected[name]) for name in expected), step
    assert capture.num_replays == 2


@pytest.mark.parametrize(("world_size", "micro_size"), [(1, 4), (2, 4)])
def test_ranks_and_micro_batches_split_the_same_noise(world_size, micro_size):
    def draw(world_size: int, micro_size: int, step: int = 4) -> torch.Tensor:
        parts = [part(rank, world_size, step) for rank in range(world_size)]
        options = {"micro_size": micro_size, "noise_every_steps": 4}
        batches = [micro for batch in parts for micro in prepare(batch, **options)]
        return torch.cat([micro_batch.penalty_noise for micro_batch in batches])

    whole = draw(1, GLOBAL)
    assert whole.shape == (GLOBAL // 4, 2, 3, 3, HEIGHT, WIDTH)
    assert torch.equal(draw(world_size, micro_size), whole)
    assert not len(draw(world_size, micro_size, step=3))
    draws = torch.cat([whole, draw(1, GLOBAL, step=8)]).flatten(0, 1).flatten(1)
    assert (draws @ draws.T / draws.shape[1] - torch.eye(8)).abs().max() < 0.3  # independent


def test_mismatched_prompts_are_others_and_all_but_the_first_different():
    whole = joined(prepare(part(0, 1), micro_size=GLOBAL))
    assert whole["mismatched_ids"].shape == (GLOBAL, NUM_MISMATCHED, NUM_TOKENS)
    assert torch.equal(whole["mismatched_mask"], whole["mismatched_ids"] > 0)
    own, others = whole["token_ids"][:, 1], whole["mismatched_ids"][..., 1]
    for clip, numbers in zip(own.tolist(), others.tolist(), strict=True):
        assert len({clip, *numbers[1:]}) == NUM_MISMATCHED, "others of the batch"
        assert numbers[0] != clip


def test_frames_are_the_ones_their_times_say_and_belong_to_their_prompt():
    for micro_batch in prepare(part(0, 1)):
        assert micro_batch.real_video.shape == (2, 3, 3, HEIGHT, WIDTH)
        values = ((micro_batch.real_video[:, 0, :, 0, 0] + 1) * 127.5).round()  # B K
        clips, frames = values // 10, values % 10
        torch.testing.assert_close(micro_batch.times, frames / (NUM_FRAMES - 1))
        assert (micro_batch.times.diff(dim=1) > 0).all()
        own = [PROMPTS[int(i)] for i in clips[:, 0]]
        token_ids, token_mask = VOCABULARY.encode(own, length=NUM_TOKENS)
        assert micro_batch.token_ids.tolist() == token_ids.tolist()
        assert micro_batch.token_mask.tolist() == token_mask.tolist()


def test_steps_seeds_and_purposes_draw_differently():
    def draw(**changes):
        names = {"seed": 0, "step": 0, "purpose": "generator"} | changes
        return draw_latents(num_clips=4, shape=(3,), **names)

    draws = [draw(), draw(seed=1), draw(step=1), draw(purpose="discriminator")]
    for i, a in enumerate(draws):
        for b in draws[:i]:
            assert not torch.equal(a, b)
    assert torch.equal(draw(), draw())


def test_latents_can_be_shared_by_both_updates():
    shared = joined(prepare(part(0, 1), shares_latents=True))
    assert torch.equal(shared["discriminator_latents"], shared["generator_latents"])
    fresh = joined(prepare(part(0, 1)))
    assert not torch.equal(fresh["discriminator_latents"], fresh["generator_latents"])


def choose(num_frames: int, near_window_share: float, num_clips: int = 6000) -> np.ndarray:
    return choose_frames(
        seed=1, step=2, num_clips=num_clips, num_frames=num_frames, frames_per_clip=3,
        near_window_share=near_window_share,
    )  # fmt: skip


def test_near_windows_are_successive_frames_and_the_others_keep_their_draws():
    spread, some, near = choose(16, 0.0), choose(16, 0.7), choose(16, 1.0)
    gaps = np.diff(near, axis=1)
    assert (gaps[:, :1] == gaps).all()
    assert np.bincount(gaps[:, 0])[1:] == pytest.approx([3000, 3000], rel=0.1)
    starts = np.bincount(near[gaps[:, 0] == 2, 0])
    assert starts == pytest.approx(np.full(12, 250), rel=0.25)
    assert near.max() == 15
    is_near = (some == near).all(axis=1)
    assert is_near.mean() == pytest.approx(0.7, abs=0.03)
    np.testing.assert_array_equal(some[~is_near], spread[~is_near])


@pytest.mark.parametrize("num_frames", [3, 4])
def test_near_windows_of_short_clips_have_no_gaps(num_frames):
    assert (np.diff(choose(num_frames, 1.0), axis=1) == 1).all()


def test_every_frame_is_chosen_equally_often():
    chosen = choose_frames(seed=1, step=0, num_clips=7000, num_frames=7, frames_per_clip=3)
    assert chosen.shape == (7000, 3)
    assert (np.diff(chosen, axis=1) > 0).all()
    counts = np.bincount(chosen.ravel(), minlength=7)
    assert counts == pytest.approx(np.full(7, 3000), rel=0.06)


def test_packed_tensors_are_unpacked_as_they_were():
    torch.manual_seed(0)
    tensors = {
        "bytes": torch.randint(0, 255, (3, 5), dtype=torch.uint8),
        "numbers": torch.randn(2, 3).T,
        "nothing": torch.empty(4, 0),
        "ids": torch.arange(7),
        "flags": torch.tensor([True, False, True]),
    }
    packed = PackedTensors.pack(tensors, is_pinned=False).to(torch.device("cpu"))
    found = packed.unpack()
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
        assert found[name].data_ptr() % 64 == 0
    found["ids"][0] = 100
    assert packed.unpack()["ids"][0] == 100, "views, not copies"
    assert packed.unpack()["flags"].tolist() == [True, False, True]
