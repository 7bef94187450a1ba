"""Load a generator from untrusted weights, with limited sizes."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from t2vgan.checkpoint.tensor_files import add_missing, format_tensor
from t2vgan.checkpoint.weights import WeightsInfo, load_weights
from t2vgan.errors import UserError
from t2vgan.models import build_generator
from t2vgan.pipeline.passes import MAX_CLIP_PIXELS
from t2vgan.tokenizer import Vocabulary

MAX_TRAINED_FRAMES = 2**16  # to draw times between them, the codes of all are computed
MAX_TRAINED_SIDE = 2**13  # tables of coordinates grow with it, and are not in the file


def load_generator(weights: Path | str) -> tuple[nn.Module, Vocabulary, WeightsInfo]:
    """Load a generator onto the CPU, in evaluation mode.

    Raises:
        UserError: the weights are missing, damaged or do not match their description.
    """
    tensors, info = load_weights(weights)
    check_claimed_size(weights, info)
    vocabulary = build_vocabulary(info)
    with AllocationLimit(sum(tensor.numel() for tensor in tensors.values()), weights):
        generator = build_generator(
            info.model, height=info.height, width=info.width, vocabulary_size=len(vocabulary)
        )
    tensors = add_missing(tensors, generator.state_dict())
    check_tensors(weights, tensors, expected=generator.state_dict())
    generator.load_state_dict(tensors)
    return generator.eval(), vocabulary, info


def check_claimed_size(weights: Path | str, info: WeightsInfo) -> None:
    """Raise UserError for clips larger than those of any data set."""
    num_frames, height, width = info.num_frames, info.height, info.width
    if (
        num_frames > MAX_TRAINED_FRAMES
        or max(height, width) > MAX_TRAINED_SIDE
        or num_frames * height * width > MAX_CLIP_PIXELS
    ):
        raise UserError(
            f"weights {weights}: clips of {num_frames} frames of {height}x{width} are too large:"
            f" at most {MAX_TRAINED_FRAMES:,} frames, {MAX_TRAINED_SIDE:,} pixels per side and"
            f" {MAX_CLIP_PIXELS:,} in total; train on smaller clips"
        )


def build_vocabulary(info: WeightsInfo) -> Vocabulary:
    """Build the vocabulary of some weights."""
    return Vocabulary(info.words, info.tokenizer, max_phrases=info.model.max_phrases)


class AllocationLimit(TorchFunctionMode):
    """Refuse to allocate more parameters than a file contains.

    Building the network on the "meta" device would give its size too, but costs 3 s of imports.
    """

    def __init__(self, num_elements: int, path: Path | str) -> None:
        super().__init__()
        self.num_left = num_elements
        self.path = path

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.empty:  # torch.nn's layers create their parameters with it
            self.num_left -= math.prod(args[0]) if isinstance(args[0], tuple) else args[0]
            if self.num_left < 0:
                raise UserError(f"weights {self.path}: describes a larger model than it holds")
        return function(*args, **(kwargs or {}))


def check_tensors(
    path: Path | str, tensors: dict[str, Tensor], *, expected: dict[str, Tensor]
) -> None:
    """Raise UserError unless names, shapes and dtypes are those expected."""
    for name in sorted(tensors.keys() | expected.keys()):
        found, wanted = format_tensor(tensors.get(name)), format_tensor(expected.get(name))
        if found != wanted:
            raise UserError(
                f"weights {path}: tensor {name} is {found}, but {wanted} in the model described: "
                "use the t2vgan version that wrote it"
            )
