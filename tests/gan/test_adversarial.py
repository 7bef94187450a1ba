"""The step: who is updated by what, and with which prompt."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.gan.adversarial_losses import Loss
from t2vgan.gan.augmentation import draw_augmentation
from t2vgan.gan.batch import MicroBatch, StepInputs
from t2vgan.gan.losses import mode_seeking
from t2vgan.gan.optimizer import NetworkOptimizer, Prepared
from t2vgan.gan.schedules import Schedule
from t2vgan.gan.step_graph import Step
from tests.support.gan_steps import SPRITES, B, R, cut, make_batch, make_gan, weights


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_micro_batches_train_the_same_model(processes, step, size):
    """Step 0 has the penalty, step 1 has not; the mean over the batch is the same either way."""
    whole, parts = make_gan(processes), make_gan(processes)
    for number in (step, step + 8):
        batch = make_batch(number)
        whole.train_step(StepInputs.of([batch]), number)
        parts.train_step(StepInputs.of(cut(batch, size)), number)
    assert_same(whole, parts, 1e-11)


def assert_same(whole: AdversarialTraining, parts: AdversarialTraining, within: float) -> None:
    for name in whole.networks:
        difference = (weights(whole.networks[name]) - weights(parts.networks[name])).abs().max()
        assert difference < within, name


def test_micro_batches_have_the_same_approximate_penalty(processes):
    whole, parts = (make_gan(processes, penalty="approximate") for _ in range(2))
    for number in (0, 8):
        batch = make_batch(number, noise=True)
        whole.train_step(StepInputs.of([batch]), number)
        parts.train_step(StepInputs.of(cut(batch, 4)), number)
    assert_same(whole, parts, 1e-9)  # rounding is divided by PENALTY_SHIFT


def test_each_update_moves_its_own_network_only(processes):
    gan = make_gan(processes)
    batch = [make_batch()]
    parts = Step(StepInputs.of(batch), gan.schedule(0))
    before = {name: weights(network) for name, network in gan.networks.items()}

    batch = gan.update(gan.discriminator, gan.losses.discriminator_loss, batch, parts)
    assert not torch.equal(weights(gan.discriminator.network), before["discriminator"])
    assert torch.equal(weights(gan.generator.network), before["generator"])

    moved = weights(gan.discriminator.network)
    gan.update(gan.generator, gan.losses.generator_loss, batch, parts)
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
    gan.train_step(StepInputs.of([make_batch()]), 1)
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
    gan.train_step(StepInputs.of(parts), 1)
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
    gan.train_step(StepInputs.of(cut(batch, size)), 1)
    assert len(draw.calls) == num_passes
    plain.train_step(StepInputs.of([batch]), 1)
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
    gan.train_step(StepInputs.of([make_batch()]), 70)
    assert gan.ema.model.camera_std.item() == pytest.approx(0.05)


def test_without_recovered_latents_the_discriminator_has_no_such_head(processes):
    gan, batch = make_gan(processes, recovered_latents=0), make_batch()
    assert gan.discriminator.network.recover is None
    gan.train_step(StepInputs.of([batch]), 1)
    assert "recovery/loss" not in gan.metrics.reduce()


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

        def prepare(*args, name=name, side=side) -> Prepared:
            gradients = [p.grad for p in side.network.parameters() if p.grad is not None]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            norms.setdefault(name, []).append(flat.norm().item())
            return NetworkOptimizer.prepare(side, *args)

        monkeypatch.setattr(side, "prepare", prepare)
    for number in range(3):
        gan.train_step(StepInputs.of([make_batch(number)]), number)
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
    parts = Step(StepInputs.of(cut(batch, size)), gan.schedule(0))
    gan.update(gan.generator, gan.losses.generator_loss, parts.inputs.micro_batches(), parts)
    found = gan.metrics.reduce()["gradient_norm/video"]
    assert found == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize(("rampup", "halflife"), [(0.0, B), (0.25, B / 2)])
def test_the_average_follows_the_generator(processes, rampup, halflife):
    """After two steps, 2 B clips were seen."""
    gan = make_gan(processes, ema_halflife_clips=float(B), ema_rampup=rampup)
    assert gan.schedule_metrics(2)["ema/halflife"] == halflife
    before = weights(gan.ema.model)
    gan.train_step(StepInputs.of([make_batch()]), 2)
    share = 0.5 ** (B / halflife)
    expected = share * before + (1 - share) * weights(gan.generator.network)
    torch.testing.assert_close(weights(gan.ema.model), expected)


def test_the_seed_decides_the_first_weights(processes):
    first, again = make_gan(processes, seed=1), make_gan(processes, seed=1)
    other = make_gan(processes, seed=2)
    assert torch.equal(weights(first.generator.network), weights(again.generator.network))
    assert not torch.equal(weights(first.generator.network), weights(other.generator.network))
