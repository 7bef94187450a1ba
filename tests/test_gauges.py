"""Gradient norms as they are applied, and times that waiting for others does not lengthen."""

import time

import pytest
import torch
from torch import nn

from t2vgan.gauges import Stopwatch, compare_ranks, note_gradient_norms
from tests.test_game import make_batch, make_game


@pytest.fixture
def game():
    from t2vgan.distributed import Processes

    return make_game(Processes(num_cpu_threads=1))


def test_the_norm_is_that_of_the_gradients_applied(game):
    applied = {}
    note_gradient_norms(game)
    for name, player in game.players.items():

        def keep(*_, name=name, player=player):
            gradients = [
                p.grad.flatten() for p in player.network.parameters() if p.grad is not None
            ]
            applied.setdefault(name, []).append(torch.cat(gradients).double().norm().item())

        player.optimizer.register_step_pre_hook(keep)
    for step in range(3):
        game.play([make_batch(step)], step)
    notes = game.notes.read()
    for name, norms in applied.items():
        assert len(norms) == 3
        assert notes[f"gradient_norm/{name}"] == pytest.approx(sum(norms) / 3, rel=1e-5)


def test_a_loss_scale_does_not_show(game):
    note_gradient_norms(game)
    game.play([make_batch(0)], 1)
    plain = game.notes.read()
    other = make_game(game.processes)
    for player in other.players.values():
        player.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=True)
    note_gradient_norms(other)
    other.play([make_batch(0)], 1)
    scaled = other.notes.read()
    for name in game.players:
        key = f"gradient_norm/{name}"
        assert scaled[key] == pytest.approx(plain[key], rel=1e-3)


class Sleeper(nn.Module):
    def forward(self, seconds):
        time.sleep(seconds)


def test_the_stopwatch_runs_during_forward_passes_only():
    first, second = Sleeper(), Sleeper()
    stopwatch = Stopwatch([first, second], torch.device("cpu"))
    first(0.03)
    time.sleep(0.5)  # waiting for another rank
    second(0.02)
    assert 0.05 <= stopwatch.read() < 0.4
    assert stopwatch.read() == 0


class Ranks:
    """Stands for several processes: each one's reading."""

    def __init__(self, *seconds):
        self.gather_objects = lambda own: list(seconds)


@pytest.mark.parametrize(
    ("seconds", "skew", "slowest"),
    [([2.0], 1.0, 0), ([1.0, 3.0], 3.0, 1), ([2.0, 4.0, 1.0], 2.0, 1), ([0.0, 0.0], 1.0, 0)],
)
def test_the_slowest_rank_against_the_median(seconds, skew, slowest):
    assert compare_ranks(Ranks(*seconds), 0.0) == {"rank_skew": skew, "slowest_rank": slowest}
