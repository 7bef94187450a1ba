"""The step: who is updated by what, which prompt belongs to which clip, and gradient truth."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from t2vgan.config import ClipGanConfig, TrainConfig
from t2vgan.data.pixel_sums import PixelStatistics
from t2vgan.distributed.context import DistributedContext
from t2vgan.gan.adversarial import AdversarialTraining, LossFunction
from t2vgan.gan.adversarial_losses import Loss
from t2vgan.gan.augmentation import draw_augmentation
from t2vgan.gan.batch import MicroBatch
from t2vgan.gan.losses import gradient_penalty, mode_seeking
from t2vgan.gan.optimizer import NetworkOptimizer
from t2vgan.gan.schedules import Schedule

MODEL = ClipGanConfig(latent_size=5, text_size=6, hidden_size=14, channels=4)
SPRITES = MODEL.model_copy(update={"num_sprites": 2, "camera_variation": 0.1})
B, K, H, W, R, VOCABULARY = 8, 3, 16, 32, 2, 11
SIZES = {"height": H, "width": W, "vocabulary_size": VOCABULARY}


@pytest.fixture(scope="module")
def processes() -> DistributedContext:
    return DistributedContext(num_cpu_threads=1)


def make_gan(processes, *, model=MODEL, pixels=None, **options) -> AdversarialTraining:
    defaults = {
        "frames_per_clip": K,
        "global_batch_size": B,
        "precision": "no",
        "num_steps": 100,
        "recovered_latents": R,
        "mode_seeking_weight": 0.1,
    }
    train = TrainConfig(**(defaults | options))
    gan = AdversarialTraining(model, train, processes, **SIZES, pixels=pixels)
    for module in gan.networks.values():  # float64: what must be equal is equal to 14 digits
        module.double()
    return gan


def make_batch(seed: int = 0, *, noise: bool = False, num_mismatched: int = 1) -> MicroBatch:
    torch.manual_seed(seed)
    token_ids = torch.randint(1, VOCABULARY, (B, 4))
    mismatched_ids = torch.randint(1, VOCABULARY, (B, num_mismatched, 4))
    mismatched_ids[0, 0] = token_ids[0]
    return MicroBatch(
        real_video=torch.randn(B, 3, K, H, W, dtype=torch.float64),
        token_ids=token_ids,
        token_mask=token_ids > 0,
        mismatched_ids=mismatched_ids,
        mismatched_mask=mismatched_ids > 0,
        times=torch.rand(B, K, dtype=torch.float64).sort(1).values,
        discriminator_latents=torch.randn(B, 5, dtype=torch.float64),
        generator_latents=torch.randn(B, 5, dtype=torch.float64),
        augmentation=torch.zeros(B, 0),
        penalty_noise=torch.randn(B // 4 * noise, 2, 3, K, H, W, dtype=torch.float64),
    )


def to_single(batch: MicroBatch) -> MicroBatch:
    tensors = batch.tensors.items()
    return MicroBatch(**{n: v.float() if v.is_floating_point() else v for n, v in tensors})


def cut(batch: MicroBatch, size: int) -> list[MicroBatch]:
    length = len(batch.real_video)
    return [batch.slice(slice(start, start + size)) for start in range(0, length, size)]


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_micro_batches_train_the_same_model(processes, step, size):
    """Step 0 has the penalty, step 1 has not; the mean over the batch is the same either way."""
    whole, parts = make_gan(processes), make_gan(processes)
    for number in (step, step + 8):
        batch = make_batch(number)
        whole.train_step([batch], number)
        parts.train_step(cut(batch, size), number)
    assert_same(whole, parts, 1e-11)


def assert_same(whole: AdversarialTraining, parts: AdversarialTraining, within: float) -> None:
    for name in whole.networks:
        difference = (weights(whole.networks[name]) - weights(parts.networks[name])).abs().max()
        assert difference < within, name


def test_micro_batches_have_the_same_approximate_penalty(processes):
    whole, parts = (make_gan(processes, penalty="approximate") for _ in range(2))
    for number in (0, 8):
        batch = make_batch(number, noise=True)
        whole.train_step([batch], number)
        parts.train_step(cut(batch, 4), number)
    assert_same(whole, parts, 1e-9)  # rounding is divided by PENALTY_SHIFT


def test_each_update_moves_its_own_network_only(processes):
    gan = make_gan(processes)
    batch, schedule = [make_batch()], gan.schedule(0)
    before = {name: weights(network) for name, network in gan.networks.items()}

    batch = gan.update(gan.discriminator, gan.losses.discriminator_loss, batch, schedule)
    assert not torch.equal(weights(gan.discriminator.network), before["discriminator"])
    assert torch.equal(weights(gan.generator.network), before["generator"])

    moved = weights(gan.discriminator.network)
    gan.update(gan.generator, gan.losses.generator_loss, batch, schedule)
    assert torch.equal(weights(gan.discriminator.network), moved)
    assert not torch.equal(weights(gan.generator.network), before["generator"])
    assert torch.equal(weights(gan.ema.model), before["generator_ema"])


class Spy(nn.Module):
    """Stands in for a network and remembers what it was asked."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.calls: list[tuple[Tensor, ...]] = []

    def forward(self, *inputs: Tensor):
        self.calls.append(tuple(part.detach().clone() for part in inputs))
        return self.network(*inputs)


def test_every_logit_judges_a_clip_with_its_own_prompt_and_times(processes):
    gan, batch = make_gan(processes), make_batch()
    judge, draw = Spy(gan.discriminator.network), Spy(gan.generator.network)
    gan.losses.discriminator = dataclasses.replace(gan.discriminator, network=judge)
    gan.losses.generator = dataclasses.replace(gan.generator, network=draw)

    _, kept = gan.losses.discriminator_loss(batch, gan.schedule(0))
    (latents, *conditions), (video, *judged) = draw.calls[0], judge.calls[0]
    assert torch.equal(latents, batch.discriminator_latents)
    assert torch.equal(video[:B], batch.real_video)
    for drawn, part in zip(conditions, batch.conditions, strict=True):
        assert torch.equal(drawn, part)  # fake i is drawn for the prompt of real clip i
    token_ids, token_mask, times = judged
    # Fake i is judged with the prompt and the times of real clip i, which is judged twice.
    others, their_mask = batch.mismatched_ids.squeeze(1), batch.mismatched_mask.squeeze(1)
    assert torch.equal(token_ids, torch.cat([batch.token_ids, batch.token_ids, others]))
    assert torch.equal(token_mask, torch.cat([*[batch.token_mask] * 2, their_mask]))
    assert torch.equal(times, torch.cat([batch.times, batch.times]))

    batch = dataclasses.replace(batch, **kept)
    gan.losses.generator_loss(batch, gan.schedule(0))
    assert torch.equal(draw.calls[1][0], batch.generator_latents)
    for given, part in zip(judge.calls[1][1:], batch.conditions, strict=True):
        assert torch.equal(given, part)


def test_both_updates_augment_a_generated_clip_as_the_real_one_beside_it(processes):
    gan, batch = make_gan(processes), make_batch()
    draws = torch.from_numpy(draw_augmentation(seed=0, step=0, num_clips=B, share=1.0))
    batch = dataclasses.replace(batch, augmentation=draws)
    judge, draw = Spy(gan.discriminator.network), gan.generator.network
    gan.losses.discriminator = dataclasses.replace(gan.discriminator, network=judge)
    _, kept = gan.losses.discriminator_loss(batch, gan.schedule(0))
    batch = dataclasses.replace(batch, **kept)
    gan.losses.generator_loss(batch, gan.schedule(0))
    real = gan.losses.augment(batch.real_video, draws)
    assert not torch.equal(real, batch.real_video)
    fakes = [
        gan.losses.augment(draw(latents, *batch.conditions), draws)
        for latents in (batch.discriminator_latents, batch.generator_latents)
    ]
    expected_calls = torch.cat([real, fakes[0]]), fakes[1]
    for (found, *_), expected in zip(judge.calls, expected_calls, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("loss", ["relativistic", "non_saturating"])
def test_what_all_logits_have_in_common_moves_only_where_it_counts(processes, loss):
    gan = make_gan(processes, loss=loss)
    heads = gan.discriminator.network.heads
    before = [head.unconditional.bias.item() for head in heads]
    gan.train_step([make_batch()], 1)
    moved = [head.unconditional.bias.item() != old for head, old in zip(heads, before, strict=True)]
    assert moved == [loss != "relativistic"] * len(heads)


def test_the_generators_loss_has_the_real_logits_of_the_discriminators_update(processes):
    """Of its own micro-batch, and from before the discriminator moved."""
    gan, parts = make_gan(processes), cut(make_batch(), 4)
    network, given = gan.discriminator.network, []
    with torch.no_grad():
        expected = [network(part.real_video, *part.conditions)[0] for part in parts]
    loss = gan.losses.generator_loss

    def spy(batch: MicroBatch, schedule: Schedule) -> Loss:
        given.append(batch.real_logits)
        return loss(batch, schedule)

    gan.losses.generator_loss = spy
    gan.train_step(parts, 1)
    torch.testing.assert_close(given, expected)
    with torch.no_grad():
        moved = network(parts[0].real_video, *parts[0].conditions)[0]
    assert (moved - given[0]).abs().min() > 1e-4


def share_latents(gan: AdversarialTraining, batch: MicroBatch) -> MicroBatch:
    """Train a gan as one whose model shares latents, on such a batch."""
    gan.keeps_fakes = True
    return dataclasses.replace(batch, generator_latents=batch.discriminator_latents)


def test_the_mode_seeking_loss_compares_both_updates_clips_of_a_prompt(processes):
    """In units of the data, and for the generator alone."""
    gan, plain = (make_gan(processes, mode_seeking_weight=weight) for weight in (2.0, 0.0))
    batch, schedule = make_batch(), gan.schedule(0)
    gan.losses.pixel_std = plain.losses.pixel_std = torch.full((3, 1, 1, 1), 0.5).double()
    values, kept = gan.losses.discriminator_loss(batch, schedule)
    torch.testing.assert_close(values, plain.losses.discriminator_loss(batch, schedule).values)
    with torch.no_grad():
        draw = gan.generator.network
        other, own = (
            draw(latents, *batch.conditions)
            for latents in (batch.discriminator_latents, batch.generator_latents)
        )
    assert torch.equal(kept["other_fakes"], other)
    batch = dataclasses.replace(batch, **kept)
    loss = gan.losses.generator_loss(batch, schedule).values
    batch = dataclasses.replace(batch, other_fakes=None)
    added = loss - plain.losses.generator_loss(batch, schedule).values
    latents = batch.generator_latents - batch.discriminator_latents
    seeking = mode_seeking(2 * (own - other), 2 * (own - batch.real_video), latents)
    torch.testing.assert_close(added, 2.0 * seeking)
    assert added.all()


@pytest.mark.parametrize(("size", "num_passes"), [(B, 1), (4, 4)])
def test_clips_of_shared_latents_are_generated_once(processes, size, num_passes):
    """Not those of a batch's parts: their activations are not kept."""
    gan, plain, batch = make_gan(processes), make_gan(processes), make_batch()
    batch = share_latents(gan, batch)
    draw = Spy(gan.generator.network)
    gan.losses.generator = dataclasses.replace(gan.generator, network=draw)
    gan.train_step(cut(batch, size), 1)
    assert len(draw.calls) == num_passes
    plain.train_step([batch], 1)
    assert_same(plain, gan, 1e-11)


@pytest.mark.parametrize("number", [1, 3])
def test_the_mismatched_term_compares_a_real_clip_with_itself_under_other_prompts(
    number, processes
):
    options = {"mismatched_prompts": number, "global_batch_size": 8}
    gan = make_gan(processes, mismatched_weight=3.0, **options)
    batch = make_batch(num_mismatched=number)
    plain = make_gan(processes, mismatched_weight=0.0, **options)
    schedule = gan.schedule(0)
    loss, without = (g.losses.discriminator_loss(batch, schedule).values for g in (gan, plain))
    added = loss - without
    judge = gan.discriminator.network
    right, _ = judge(batch.real_video, *batch.conditions)
    odds = 0.0
    for place in range(number):
        prompts = batch.mismatched_ids[:, place], batch.mismatched_mask[:, place]
        wrong, _ = judge(batch.real_video, *prompts, batch.times)
        odds = odds + (wrong - right).exp() * (prompts[0] != batch.token_ids).any(1)
    torch.testing.assert_close(added, 3.0 * (1 + odds).log())
    assert (added[0] == 0) == (number == 1), "by chance the same prompt"
    logged = gan.metrics.reduce()["loss/mismatched"]
    assert logged == pytest.approx((added[added != 0] / 3.0).mean().item(), rel=1e-6)


def test_each_side_reads_the_latents_of_its_own_fakes(processes):
    gan, batch = make_gan(processes), make_batch()
    batch = dataclasses.replace(batch, real_logits=torch.zeros(B, dtype=torch.float64))
    plain = dataclasses.replace(gan.schedule(0), recovery_weight=0.0)
    recovering = dataclasses.replace(plain, recovery_weight=3.0)
    judge, draw = gan.discriminator.network, gan.generator.network
    for loss, latents in (
        (gan.losses.discriminator_loss, batch.discriminator_latents),
        (gan.losses.generator_loss, batch.generator_latents),
    ):
        added = loss(batch, recovering).values - loss(batch, plain).values
        _, recovered = judge(draw(latents, *batch.conditions), *batch.conditions)
        expected = 3.0 * (recovered - latents[:, :R]).square().mean(1)
        torch.testing.assert_close(added, expected)


def test_variety_counts_as_the_learning_rates_fall(processes):
    gan = make_gan(processes, model=SPRITES, recovery_weight=3.0, lr_hold=0.4, lr_final=0.05)
    recovery, camera = [], []
    for step in (0, 40, 70, 100):
        recovery.append(gan.set_schedule(step).recovery_weight)
        camera.append(gan.generator.network.camera_std.item())
    assert recovery == pytest.approx([0, 0, 1.5, 3])
    assert camera == pytest.approx([0, 0, 0.05, 0.1])


def test_the_average_has_the_generators_camera(processes):
    gan = make_gan(processes, model=SPRITES, lr_hold=0.4)
    gan.train_step([make_batch()], 70)
    assert gan.ema.model.camera_std.item() == pytest.approx(0.05)


def test_without_recovered_latents_the_discriminator_has_no_such_head(processes):
    gan, batch = make_gan(processes, recovered_latents=0), make_batch()
    assert gan.discriminator.network.recover is None
    gan.train_step([batch], 1)
    assert "recovery/loss" not in gan.metrics.reduce()


def test_the_penalty_is_lazy_weighted_and_scheduled(processes):
    gan = make_gan(
        processes,
        penalty_every_steps=4,
        gamma_start=8.0,
        gamma_end=2.0,
        gamma_until=0.5,
        num_steps=100,
    )
    found = []
    for step in range(100):
        found.append(gan.schedule(step).penalty_weight)
    assert [step for step, weight in enumerate(found) if weight] == list(range(0, 100, 4))
    assert found[0] == pytest.approx(4 * 8.0)
    assert found[24] == pytest.approx(4 * 8.0 * (2 / 8) ** (0.24 / 0.5))
    assert found[60] == pytest.approx(4 * 2.0)


def test_the_penalty_adds_gamma_over_two_times_r1_plus_r2(processes):
    gan, batch = make_gan(processes), make_batch()
    schedule = gan.schedule(0)
    plain = gan.losses.discriminator_loss(batch, dataclasses.replace(schedule, penalty_weight=0.0))
    gan.metrics.reduce()
    penalised = gan.losses.discriminator_loss(
        batch, dataclasses.replace(schedule, penalty_weight=6.0)
    )
    r1_plus_r2 = gan.metrics.reduce()["penalty"]
    assert r1_plus_r2 > 0
    added = (penalised.values - plain.values).mean().item()
    share_of_pixels = K * H * W / (4 * 64 * 64)
    assert added == pytest.approx(share_of_pixels * 6.0 / 2 * r1_plus_r2, rel=1e-9)


def test_the_approximate_penalty_and_its_gradient_are_exact_in_the_mean(processes):
    """Over many noises, within 4 standard errors; of every fourth clip, in units of the data."""
    pixels = PixelStatistics((0.5, 0.0, -0.25), 0.25)
    gan = make_gan(processes, pixels=pixels, penalty="approximate")
    network, losses, batch = gan.discriminator.network, gan.losses, make_batch()
    with torch.no_grad():
        fake_video = gan.losses.generate(batch, batch.discriminator_latents)
    clips = torch.cat([batch.real_video[::4], fake_video[::4]])
    conditions = [torch.cat([part[::4], part[::4]]) for part in batch.conditions]
    score = lambda video: network(video, *conditions)  # noqa: E731
    r1, r2 = gradient_penalty(score, clips, losses.pixel_std)[0].chunk(2)
    parameters = list(network.parameters())

    def gradient(penalty: Tensor) -> Tensor:
        parts = torch.autograd.grad(penalty, parameters, allow_unused=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts])

    exact = (r1 + r2).mean()
    direction = gradient(exact)
    video = torch.cat([batch.real_video, fake_video])
    found = []
    for _ in range(300):
        noise = torch.randn(B // 4, 2, 3, K, H, W, dtype=torch.float64)
        batch = dataclasses.replace(batch, penalty_noise=noise)
        penalty = losses.discriminate(video, batch, "approximate").penalty
        assert penalty.shape == (B,)
        along = gradient(penalty.mean()) @ direction / direction.square().sum()
        found.append(torch.stack([penalty.mean().detach() / exact.detach(), along]))
    ratios = torch.stack(found)
    errors = (ratios.mean(0) - 1) / (ratios.std(0) / len(ratios) ** 0.5)
    assert (errors.abs() < 4).all(), (ratios.mean(0), errors)
    assert (ratios.std(0) / len(ratios) ** 0.5 < 0.15).all()  # or they would show nothing


def test_the_approximate_penalty_adds_gamma_over_two_times_it(processes):
    gan, batch = make_gan(processes, penalty="approximate"), make_batch(noise=True)
    schedule = gan.schedule(0)
    silent = dataclasses.replace(batch, penalty_noise=torch.zeros(0))
    plain = gan.losses.discriminator_loss(silent, dataclasses.replace(schedule, penalty_weight=0.0))
    gan.metrics.reduce()
    penalised = gan.losses.discriminator_loss(
        batch, dataclasses.replace(schedule, penalty_weight=6.0)
    )
    r1_plus_r2 = gan.metrics.reduce()["penalty"]
    share_of_pixels = K * H * W / (4 * 64 * 64)
    added = (penalised.values - plain.values).mean().item()
    assert added == pytest.approx(share_of_pixels * 6.0 / 2 * r1_plus_r2, rel=1e-9)


def test_with_the_approximate_penalty_the_discriminator_is_in_float32(processes):
    """bfloat16 keeps 8 bits, and finite differences divide by 0.01."""
    gan = make_gan(processes, precision="bf16", penalty="approximate")
    for module in gan.networks.values():
        module.float()
    found = []
    gan.discriminator.network.fine.register_forward_hook(lambda *call: found.append(call[2].dtype))
    for step, dtype in ((0, torch.float32), (1, torch.bfloat16)):
        batch = to_single(make_batch(noise=step == 0))
        gan.losses.discriminator_loss(batch, gan.schedule(step)).values.mean().backward()
        assert found.pop() == dtype


def test_the_penalty_does_not_depend_on_contrast(processes):
    """Darker video of less contrast, standardised, has the penalty of the video as it was."""
    schedule = dataclasses.replace(make_gan(processes).schedule(0), penalty_weight=6.0)
    losses = []
    for mean, std in ((0.0, 1.0), (-0.75, 0.125)):
        gan = make_gan(processes, pixels=PixelStatistics((mean,) * 3, std))
        batch = make_batch()
        batch = dataclasses.replace(batch, real_video=mean + std * batch.real_video)
        losses.append(gan.losses.discriminator_loss(batch, schedule).values.detach())
        losses.append(torch.tensor(gan.metrics.reduce()["penalty"]))
    torch.testing.assert_close(losses[2], losses[0])
    torch.testing.assert_close(losses[3], losses[1])


def test_without_standardizing_gamma_is_that_of_the_video_as_it_is(processes):
    gan, batch = make_gan(processes, standardize=False), make_batch()
    schedule = gan.schedule(0)
    plain = gan.losses.discriminator_loss(batch, dataclasses.replace(schedule, penalty_weight=0.0))
    penalised = gan.losses.discriminator_loss(
        batch, dataclasses.replace(schedule, penalty_weight=6.0)
    )
    added = (penalised.values - plain.values).mean().item()
    assert added == pytest.approx(6.0 / 2 * gan.metrics.reduce()["penalty"], rel=1e-9)


def test_schedules_reach_the_optimizers(processes):
    gan = make_gan(
        processes, generator_lr=4e-3, lr_hold=0.0, lr_final=0.0, beta1=0.1, beta2_start=0.8,
        beta2_end=0.9, num_steps=10,
    )  # fmt: skip
    gan.set_schedule(5)
    (group,) = gan.generator.optimizer.param_groups
    assert group["lr"] == pytest.approx(2e-3)
    assert group["betas"] == pytest.approx((0.1, 0.85))


def test_the_gradients_norms_are_logged(processes, monkeypatch):
    gan, norms = make_gan(processes), {}
    for name, side in gan.optimizers.items():

        def step(loss, name=name, side=side) -> Tensor:
            gradients = [p.grad for p in side.network.parameters() if p.grad is not None]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            norms.setdefault(name, []).append(flat.norm().item())
            return NetworkOptimizer.step(side, loss)

        monkeypatch.setattr(side, "step", step)
    for number in range(3):
        gan.train_step([make_batch(number)], number)
    metrics = gan.metrics.reduce()
    for name, found in norms.items():
        assert len(found) == 3
        assert metrics[f"gradient_norm/{name}"] == pytest.approx(sum(found) / 3)


@pytest.mark.parametrize(("size", "scale"), [(B, 1.0), (2, 1.0), (B, 2.0**10)])
def test_the_gradient_to_the_pixels_is_logged_per_clip_and_in_units_of_the_data(
    processes, size, scale
):
    gan, batch = make_gan(processes), make_batch()
    gan.generator.grad_scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=scale > 1)
    gan.losses.pixel_std = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64).view(3, 1, 1, 1)
    logits, other = torch.randn(B, dtype=torch.float64), torch.zeros_like(batch.real_video)
    batch = dataclasses.replace(batch, real_logits=logits, other_fakes=other)  # not compared here
    fake_video = gan.losses.generate(batch, batch.generator_latents)
    fake_logits, _ = gan.discriminator.network(fake_video, *batch.conditions)
    losses = nn.functional.softplus(batch.real_logits - fake_logits)
    (gradient,) = torch.autograd.grad(losses.sum(), fake_video)
    expected = (gradient * gan.losses.pixel_std).flatten(1).norm(dim=1).mean()
    gan.update(gan.generator, gan.losses.generator_loss, cut(batch, size), gan.schedule(0))
    found = gan.metrics.reduce()["gradient_norm/video"]
    assert found == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize(("rampup", "halflife"), [(0.0, B), (0.25, B / 2)])
def test_the_average_follows_the_generator(processes, rampup, halflife):
    """After two steps, 2 B clips were seen."""
    gan = make_gan(processes, ema_halflife_clips=float(B), ema_rampup=rampup)
    assert gan.schedule_metrics(2)["ema/halflife"] == halflife
    before = weights(gan.ema.model)
    gan.train_step([make_batch()], 2)
    share = 0.5 ** (B / halflife)
    expected = share * before + (1 - share) * weights(gan.generator.network)
    torch.testing.assert_close(weights(gan.ema.model), expected)


def test_the_seed_decides_the_first_weights(processes):
    first, again = make_gan(processes, seed=1), make_gan(processes, seed=1)
    other = make_gan(processes, seed=2)
    assert torch.equal(weights(first.generator.network), weights(again.generator.network))
    assert not torch.equal(weights(first.generator.network), weights(other.generator.network))


# --- numbers gone bad ----------------------------------------------------------------------------


def spoil(gan: AdversarialTraining, side: str, spoiled: float, monkeypatch) -> None:
    """Add a number to one side's loss whose gradient is 0."""
    name = f"{side}_loss"
    spoiled_loss = changed(getattr(gan.losses, name), lambda values: values + spoiled)
    monkeypatch.setattr(gan.losses, name, spoiled_loss)


def changed(loss: LossFunction, change: Callable[[Tensor], Tensor]) -> LossFunction:
    """Return a loss function with other values."""

    def changed_loss(*args) -> Loss:
        result = loss(*args)
        return result._replace(values=change(result.values))

    return changed_loss


def optimizer_state(side) -> list[Tensor]:
    state = side.optimizer.state.values()
    return [value.clone() for values in state for value in values.values()]


@pytest.mark.parametrize("spoiled", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("side", "other"), [("generator", "discriminator"), ("discriminator", "generator")]
)
def test_a_loss_that_is_not_finite_is_not_applied_even_with_finite_gradients(
    side, other, spoiled, processes, monkeypatch
):
    gan, twin = make_gan(processes), make_gan(processes)
    for both in (gan, twin):
        both.train_step([make_batch(1)], 1)
        both.gather_nonfinite()
    before, state = weights(gan.networks[side]), optimizer_state(gan.optimizers[side])
    other_before = weights(gan.networks[other])
    with monkeypatch.context() as patch:
        spoil(gan, side, spoiled, patch)
        gan.train_step(cut(make_batch(2), 4), 2)
    assert torch.equal(weights(gan.networks[side]), before)
    assert all(map(torch.equal, optimizer_state(gan.optimizers[side]), state))
    assert not torch.equal(weights(gan.networks[other]), other_before)
    assert gan.gather_nonfinite() == {side: [True], other: [False]}
    gan.train_step([make_batch(3)], 3)
    assert not torch.equal(weights(gan.networks[side]), before)
    assert gan.gather_nonfinite() == {side: [False], other: [False]}


def test_a_gradient_that_is_not_finite_is_not_applied(processes):
    gan = make_gan(processes)
    parameters = list(gan.generator.network.parameters())
    before = weights(gan.generator.network)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    parameters[-1].grad.view(-1)[-1] = torch.inf
    gan.generator.step(torch.zeros(()))
    assert torch.equal(weights(gan.generator.network), before)
    assert gan.gather_nonfinite() == {"generator": [True], "discriminator": []}


def test_an_update_is_bad_where_it_was_on_any_rank(processes, monkeypatch):
    monkeypatch.setattr(processes, "mean", lambda flags: flags / 2)  # another rank's are all good
    gan = make_gan(processes)
    gan.generator.nonfinite = [torch.tensor(True), torch.tensor(False)]
    assert gan.gather_nonfinite()["generator"] == [True, False]


def make_float16_gan(processes) -> AdversarialTraining:
    train = TrainConfig(
        frames_per_clip=K, global_batch_size=B, precision="fp16", recovered_latents=R
    )
    return AdversarialTraining(MODEL, train, processes, **SIZES)


def test_only_float16_scales_its_losses(processes):
    assert not any(make_gan(processes, precision="bf16").loss_scales.values())
    assert all(make_float16_gan(processes).loss_scales.values())


@pytest.mark.parametrize(("scale", "is_bad"), [(2.0**16, False), (2.0, False), (1.0, True)])
def test_in_float16_an_overflow_is_bad_only_where_nothing_is_scaled_up(scale, is_bad, processes):
    """Every 2000 steps the scaler raises its scale, on purpose until it overflows."""
    side = (gan := make_float16_gan(processes)).generator
    side.grad_scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    before = weights(side.network)
    for parameter in side.network.parameters():
        parameter.grad = torch.full_like(parameter, torch.inf)
    side.step(torch.zeros(()))
    assert torch.equal(weights(side.network), before)
    assert side.grad_scaler.get_scale() == scale / 2
    assert gan.gather_nonfinite()["generator"] == [is_bad]


def test_in_float16_an_overflow_of_one_network_leaves_the_others_scale_alone(processes):
    gan, batch = make_float16_gan(processes), make_batch()
    inputs = cut(to_single(batch), B // 2), gan.schedule(1)
    before = weights(gan.discriminator.network)
    scale = gan.generator.grad_scaler.get_scale()
    factors = iter((float("inf"), 1.0))  # of both micro-batches
    overflow = changed(gan.losses.discriminator_loss, lambda values: values * next(factors))
    gan.update(gan.discriminator, overflow, *inputs)
    assert gan.discriminator.grad_scaler.get_scale() == scale / 2
    assert gan.generator.grad_scaler.get_scale() == scale
    assert torch.equal(weights(gan.discriminator.network), before)
    assert gan.gather_nonfinite()["discriminator"] == [True]
    gan.update(gan.discriminator, gan.losses.discriminator_loss, *inputs)
    assert not torch.equal(weights(gan.discriminator.network), before)
    assert gan.gather_nonfinite()["discriminator"] == [False]


@pytest.mark.parametrize("scale", [2.0**12, 2.0**40])
def test_in_float16_overflows_are_left_out_of_the_logged_norms(scale, processes):
    gan = make_float16_gan(processes)
    gan.generator.grad_scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    gan.train_step([to_single(make_batch())], 1)
    gan.generator.grad_scaler.update(2.0**12)
    gan.train_step([to_single(make_batch())], 2)
    metrics = gan.metrics.reduce()
    assert all(math.isfinite(value) for value in metrics.values()), metrics
    assert min(metrics[f"gradient_norm/{name}"] for name in ("generator", "video")) > 0


# --- gradient truth -------------------------------------------------------------------------------


def test_second_derivatives_of_the_penalty_equal_finite_differences(processes):
    """d(R1 + R2) / d(weights): the gradient that trains, against central differences in float64."""
    gan, batch = make_gan(processes), make_batch()
    network = gan.discriminator.network
    video = batch.real_video

    def penalty() -> Tensor:
        return gradient_penalty(lambda clips: network(clips, *batch.conditions), video)[0].mean()

    parameters = list(network.parameters())
    gradients = torch.autograd.grad(penalty(), parameters, allow_unused=True)
    generator = torch.Generator().manual_seed(0)
    num_nonzero = 0
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        step = 1e-5
        with torch.no_grad():
            parameter += step * direction
            above = penalty_value(penalty)
            parameter -= 2 * step * direction
            below = penalty_value(penalty)
            parameter += step * direction
        measured = (above - below) / (2 * step)
        expected = 0.0 if gradient is None else (gradient * direction).sum().item()
        num_nonzero += expected != 0
        assert measured == pytest.approx(expected, rel=1e-5, abs=1e-11)
    assert num_nonzero > len(parameters) / 2


def penalty_value(penalty) -> float:
    with torch.enable_grad():
        return penalty().item()
