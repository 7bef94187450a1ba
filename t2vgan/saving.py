"""What a run saves of itself, and how it finds itself again."""

from pathlib import Path

from pydantic import BaseModel

import t2vgan
from t2vgan.checkpoint.state import load_checkpoint, save_checkpoint
from t2vgan.config import Config
from t2vgan.errors import UserError
from t2vgan.game import Game
from t2vgan.manifest import Manifest
from t2vgan.text import Vocabulary
from t2vgan.weights import WeightsInfo, save_weights


class RunState(BaseModel):
    """What a checkpoint holds besides tensors; everything else derives from the step."""

    data_fingerprint: str
    step: int = 0
    clips_seen: int = 0
    seconds: float = 0.0
    """Training time; sampling, evaluating and saving excluded."""
    bad_samples: int = 0
    """Of this rank's clips: those that could not be decoded."""
    best_accuracy: float = -1.0
    best_step: int = -1
    loss_scales: dict[str, dict[str, float]] = {}
    """Of each network, in float16; empty otherwise."""


def save_run(config: Config, game: Game, state: RunState) -> None:
    """Publish a checkpoint of the whole training state; for the main rank only."""
    players = game.players
    state.loss_scales = {name: player.scaler.state_dict() for name, player in players.items()}
    save_checkpoint(
        config.run_dir,
        state.step,
        game.modules,
        {name: player.optimizer for name, player in players.items()},
        state.model_dump(mode="json"),
        keep=config.keep_checkpoints,
        protect={state.best_step},
    )


def load_run(config: Config, game: Game, step: int, *, data_fingerprint: str) -> RunState:
    """Restore the checkpoint of a step into the networks and optimizers; return its state.

    Raises:
        UserError: it was trained on other data, or does not fit the networks.
    """
    players = game.players
    optimizers = {name: player.optimizer for name, player in players.items()}
    saved = load_checkpoint(config.run_dir, step, game.modules, optimizers)
    state = RunState.model_validate(saved)
    if state.data_fingerprint != data_fingerprint:
        raise UserError(
            f"{config.data.path} is not the data that {config.run_dir} was trained on; use that"
            " data, or start another run with --run-dir"
        )
    for name, player in players.items():
        player.scaler.load_state_dict(state.loss_scales[name])
    return state


def save_run_weights(
    path: Path,
    config: Config,
    game: Game,
    state: RunState,
    *,
    manifest: Manifest,
    vocabulary: Vocabulary,
) -> None:
    """Publish the averaged generator with all that sampling needs; for the main rank only."""
    info = WeightsInfo(
        model=config.model,
        **manifest.geometry.model_dump(),
        fps=manifest.fps,
        words=vocabulary.words,
        prompts=tuple(manifest.prompts),
        held_out_prompts=manifest.held_out_prompts,
        step=state.step,
        clips_seen=state.clips_seen,
        t2vgan_version=t2vgan.__version__,
    )
    save_weights(path, game.ema.model.state_dict(), info)
