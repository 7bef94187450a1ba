"""Initialise a run with the weights of another one (--init-from)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from t2vgan.checkpoint.storage import DamagedError, list_steps, step_folder, verify
from t2vgan.checkpoint.tensor_files import add_missing, check_finite, read_tensors
from t2vgan.checkpoint.transfer import Grid, match_rows, transfer
from t2vgan.checkpoint.weights import WeightsInfo, find_weights, load_weights, load_weights_info
from t2vgan.config import ClipGanConfig, Config, ModelConfig
from t2vgan.errors import UserError
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.models.scene import coarsest_scene_grid
from t2vgan.tokenizer import UNKNOWN, Vocabulary
from t2vgan.training.run_dir import read_origin
from t2vgan.utils.files import sha256_of
from t2vgan.utils.frozen import Frozen, flatten

INITIAL_NAME = "initial_weights.json"


class InitialWeights(Frozen):
    """Record of a run's initial weights, stored in its folder."""

    path: str
    sha256: str
    step: int
    words: tuple[str, ...]
    """The vocabulary of the weights, in order of token ids."""


def find_initial_weights(config: Config) -> InitialWeights | None:
    """Return the record of a run's initial weights, new or resumed.

    Raises:
        UserError: the weights are missing, damaged or of another kind of model.
    """
    if config.init_from is None:
        return None
    if recorded := read_origin(config.run_dir / INITIAL_NAME, InitialWeights):
        return recorded
    info = load_weights_info(config.init_from)
    if info.model.kind != config.model.kind:
        raise UserError(
            f"init_from={config.init_from} is a {info.model.kind}, but this run trains a"
            f" {config.model.kind}; use weights of that kind, or another preset"
        )
    return InitialWeights(
        path=config.init_from,
        sha256=sha256_of(find_weights(config.init_from)),
        step=info.step,
        words=info.words,
    )


def grow_vocabulary(data: Vocabulary, known: Sequence[str]) -> Vocabulary:
    """Add known words that are missing in the data; UNKNOWN stays last."""
    words = dict.fromkeys([*data.words, *known])
    is_limited = words.pop(UNKNOWN, UNKNOWN) is None
    return replace(data, words=(*words, UNKNOWN) if is_limited else tuple(words))


def load_initial_weights(
    config: Config,
    gan: AdversarialTraining,
    weights: InitialWeights,
    vocabulary: Vocabulary,
    frame_size: tuple[int, int],
) -> list[str]:
    """Load the generator, its average and, from a run folder, the discriminator.

    Returns lines that report the transfer of all tensors.

    Raises:
        UserError: the file changed since the run was started, or none of its layers fit.
    """
    file = find_weights(weights.path)
    if sha256_of(file) != weights.sha256:
        raise UserError(
            f"init_from={file} has changed since {config.run_dir} was started; restore it, or start"
            " a new --run-dir"
        )
    tensors, info = load_weights(file)
    rows = match_rows(info.words, vocabulary.words)
    before = list_grids(info.model, info.height, info.width)
    after = list_grids(config.model, *frame_size)
    grids = {name: (before[name], after[name]) for name in before.keys() & after.keys()}
    generator = gan.generator.network
    expected = generator.state_dict()
    fitted = transfer(add_missing(tensors, expected), expected, rows=rows, grids=grids)
    if not any(generator.get_parameter(n).ndim > 1 for n in fitted.copied if is_layer(n)):
        raise UserError(
            f"init_from={weights.path}: no layer fits these options"
            f" ({format_differences(info, config) or 'other sizes'}); use those of the weights"
        )
    generator.load_state_dict(fitted.tensors)
    gan.ema.model.load_state_dict(fitted.tensors)
    num_known = len(rows) - 1
    lines = [
        f"generator from {weights.path}, step {info.step}: {fitted}",
        f"vocabulary: {num_known} known words, {len(vocabulary.words) - num_known} new",
    ]
    if differences := format_differences(info, config):
        lines.append(f"options that differ from those of the weights: {differences}")
    return [*lines, load_discriminator(gan, Path(weights.path), rows, grids)]


def is_layer(name: str) -> bool:
    """Return whether a tensor is a weight outside the text encoder."""
    return name.endswith(".weight") and not name.startswith("text_encoder.")


def load_discriminator(
    gan: AdversarialTraining,
    folder: Path,
    rows: dict[int, int],
    grids: dict[str, tuple[Grid, Grid]],
) -> str:
    """Load the discriminator of the newest good checkpoint; return a report."""
    network = gan.discriminator.network
    if (step := find_good_step(folder)) is None:
        return "discriminator: new; weights files hold only the generator, run folders hold both"
    expected = network.state_dict()
    file = step_folder(folder, step) / "discriminator.safetensors"
    source = read_tensors(file)
    check_finite(file, source, "use a run folder whose newest checkpoint is finite")
    fitted = transfer(add_missing(source, expected), expected, rows=rows, grids=grids)
    network.load_state_dict(fitted.tensors)
    return f"discriminator from {folder}, step {step}: {fitted}"


def find_good_step(run_dir: Path) -> int | None:
    """Return the step of the newest good checkpoint; changes nothing."""
    for step in reversed(list_steps(run_dir)):
        try:
            verify(step_folder(run_dir, step))
        except DamagedError:
            continue
        return step
    return None


def list_grids(model: ModelConfig, height: int, width: int) -> dict[str, Grid]:
    """Return the grids of layers that map a code to maps."""
    if not isinstance(model, ClipGanConfig):
        return {}
    rows, columns = height // model.patch_size, width // model.patch_size
    grids = {"layout": (rows // 4, columns // 4)}
    if model.scene_scale:
        grids["scene.layout"] = coarsest_scene_grid((rows, columns), model.scene_scale)
    return grids


def format_differences(info: WeightsInfo, config: Config) -> str:
    """Format model options that differ, as `theirs -> ours`."""
    theirs, ours = flatten(info.model), flatten(config.model)
    return ", ".join(
        f"--model.{name.replace('_', '-')} {theirs[name]} -> {ours[name]}"
        for name in ours
        if name in theirs and theirs[name] != ours[name]
    )
