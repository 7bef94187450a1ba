"""What a step draws: a function of seed, step and place in the global batch."""

import numpy as np
import pytest
import torch

from t2vgan.data.batch_plan import BatchPlan
from t2vgan.data.loader import Batch
from t2vgan.gan.batch import BatchPreparer, MicroBatch, choose_frames, draw_latents
from t2vgan.gan.mismatched_prompts import MismatchedPrompts
from t2vgan.tokenizer import Vocabulary

NUM_FRAMES, HEIGHT, WIDTH, GLOBAL = 7, 4, 6, 8
PROMPTS = [
    f"circle {number}"
    for number in ["one", "two", "three", "four", "five", "six", "seven", "eight"]
]
VOCABULARY = Vocabulary.from_prompts(PROMPTS)


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


def prepare(batch: Batch, *, micro_size: int = 2, shares_latents: bool = False) -> list[MicroBatch]:
    plan = BatchPlan(GLOBAL, len(batch.positions), micro_size, stream_size=1)
    return BatchPreparer(
        VOCABULARY,
        MismatchedPrompts(PROMPTS, 0.5),
        plan,
        seed=5,
        frames_per_clip=3,
        latent_shape=(4,),
        shares_latents=shares_latents,
        num_tokens=2,
        device=torch.device("cpu"),
    ).prepare(batch)


def joined(parts: list[MicroBatch]) -> dict[str, torch.Tensor]:
    return {
        name: torch.cat([getattr(micro_batch, name) for micro_batch in parts])
        for name in MicroBatch.__dataclass_fields__
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


def test_frames_are_the_ones_their_times_say_and_belong_to_their_prompt():
    for micro_batch in prepare(part(0, 1)):
        assert micro_batch.real_video.shape == (2, 3, 3, HEIGHT, WIDTH)
        values = ((micro_batch.real_video[:, 0, :, 0, 0] + 1) * 127.5).round()  # B K
        clips, frames = values // 10, values % 10
        torch.testing.assert_close(micro_batch.times, frames / (NUM_FRAMES - 1))
        assert (micro_batch.times.diff(dim=1) > 0).all()
        expected, _ = VOCABULARY.encode([PROMPTS[int(i)] for i in clips[:, 0]])
        assert micro_batch.token_ids.tolist() == expected.tolist()


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


def test_every_frame_is_chosen_equally_often():
    chosen = choose_frames(seed=1, step=0, num_clips=7000, num_frames=7, frames_per_clip=3)
    assert chosen.shape == (7000, 3)
    assert (np.diff(chosen, axis=1) > 0).all()
    counts = np.bincount(chosen.ravel(), minlength=7)
    assert counts == pytest.approx(np.full(7, 3000), rel=0.06)
