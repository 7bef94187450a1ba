"""Trace a generator and its text encoder as one described graph."""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from t2vgan import __version__
from t2vgan.pipeline import TextToVideo
from t2vgan.tokenizer import (
    EMPTY,
    MAX_TOKENS,
    PADDING_ID,
    PHRASE_START,
    UNKNOWN,
    Vocabulary,
    build_pattern,
)

FORMAT_VERSION = "1"
# Sizes of the free axes while tracing, different from those of all layers to avoid confusion.
SIZES = {"batch": 101, "tokens": 61, "frames": 103}
AXES = {
    "batch": Dim("batch", min=1),
    "tokens": Dim("tokens", min=1, max=MAX_TOKENS),
    "frames": Dim("frames", min=1),
}
NUM_EXAMPLES = 16

Shape = list[str | int]
"""Sizes of a tensor's axes; names for free sizes."""


class Graph(NamedTuple):
    """A traced generator with a description of its use."""

    program: ExportedProgram
    description: dict[str, Any]
    """JSON values: inputs, output, tokenizer, lengths and the origin of the weights."""


class PromptsToVideo(nn.Module):
    """Draw a video from token ids, token mask, latents and times."""

    def __init__(self, generator: nn.Module, trained_frames: int) -> None:
        super().__init__()
        self.generator = generator
        self.trained_frames = trained_frames

    def forward(
        self, token_ids: Tensor, token_mask: Tensor, latents: Tensor, times: Tensor
    ) -> Tensor:
        """Draw video (B, 3, K, H, W)."""
        return self.generator(latents, token_ids, token_mask, times, self.trained_frames)


def trace(pipeline: TextToVideo) -> Graph:
    """Trace a pipeline's generator for any number of clips, tokens and frames.

    The program contains no paths of this machine and no example inputs.
    """
    description = build_description(pipeline)
    shapes: dict[str, Shape] = {
        name: value["shape"] for name, value in description["inputs"].items()
    }
    types = {"token_ids": torch.int64, "token_mask": torch.bool}
    examples = {
        name: torch.ones(
            [SIZES[size] if isinstance(size, str) else size for size in shape],
            dtype=types.get(name, torch.float32),
        )
        for name, shape in shapes.items()
    }
    free_axes = {
        name: {axis: AXES[size] for axis, size in enumerate(shape) if isinstance(size, str)}
        for name, shape in shapes.items()
    }
    generator = copy.deepcopy(pipeline.generator).cpu()  # the program is independent of the device
    module = PromptsToVideo(generator, pipeline.info.num_frames).eval()
    with torch.no_grad():
        program = torch.export.export(module, (), examples, dynamic_shapes=free_axes)
    return Graph(without_origin(program), description)


def without_origin(program: ExportedProgram) -> ExportedProgram:
    """Remove source lines with their paths, and the examples, from a program."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for name in ("stack_trace", "nn_module_stack", "torch_fn", "source_fn_stack"):
                    node.meta.pop(name, None)
    program.example_inputs = None
    return program


def build_description(pipeline: TextToVideo) -> dict[str, Any]:
    """Return everything needed to run a program, as JSON values."""
    info = pipeline.info
    return {
        "format": "t2vgan-export",
        "format_version": FORMAT_VERSION,
        "inputs": describe_inputs(pipeline.generator),
        "outputs": {
            "video": {
                "shape": ["batch", 3, "frames", info.height, info.width],
                "type": "float32",
                "holds": "red, green and blue from -1 to 1, to be clamped to that range",
            }
        },
        "tokenizer": describe_tokenizer(pipeline.vocabulary),
        "num_frames": info.num_frames,
        "fps": info.fps,
        "height": info.height,
        "width": info.width,
        "example_prompts": list(info.prompts[:NUM_EXAMPLES]),
        "weights": {
            "step": info.step,
            "clips_seen": info.clips_seen,
            "t2vgan_version": info.t2vgan_version,
        },
        "t2vgan_version": __version__,
    }


def describe_inputs(generator: nn.Module) -> dict[str, Any]:
    """Return the shape, type and meaning of each input of a program."""
    frames = SIZES["frames"]
    latent_shape = generator.latent_shape(frames)  # type: ignore[operator]
    latents: Shape = ["batch", *("frames" if size == frames else size for size in latent_shape)]
    tokens: Shape = ["batch", "tokens"]
    return {
        "token_ids": {"shape": tokens, "type": "int64", "holds": "ids, then padding_id"},
        "token_mask": {"shape": tokens, "type": "bool", "holds": "true where there is a token"},
        "latents": {
            "shape": latents,
            "type": "float32",
            "holds": "independent draws from the standard normal distribution",
        },
        "times": {
            "shape": ["batch", "frames"],
            "type": "float32",
            "holds": "evenly from 0, a clip's first frame, to 1, its last",
        },
    }


def describe_tokenizer(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return the rules that convert prompts to token ids."""
    return {
        "holds": "lower case with single spaces, then normalization if any, then phrases if any,"
        " then the pattern's first matches, with padding between phrases",
        "normalization": None if vocabulary.tokenizer == 1 else "NFC",
        "phrase_start": PHRASE_START.pattern if vocabulary.max_phrases > 1 else None,
        "max_phrases": vocabulary.max_phrases,
        "pattern": build_pattern(vocabulary.tokenizer),
        "max_tokens": MAX_TOKENS,
        "padding_id": PADDING_ID,
        "unknown_id": vocabulary.ids.get(UNKNOWN),
        "empty_id": vocabulary.ids.get(EMPTY),
        "ids": vocabulary.ids,
    }
