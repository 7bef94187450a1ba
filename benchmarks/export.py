"""Compare exported generators in onnxruntime with PyTorch.

Run `python -m benchmarks.export`. It measures the shipped weights on one thread, in turns: clips of
the trained number of frames, with one and with eight clips per pass.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import Ways, benchmark, print_summary, run_turns, summarise
from benchmarks.record import write_record
from t2vgan.checkpoint.weights import find_weights, list_shipped_weights
from t2vgan.pipeline import TextToVideo
from t2vgan.pipeline.export import trace, write_onnx, write_program

BATCH_SIZES = (1, 8)


def run(turns: int = 30) -> None:
    """Time each shipped generator in three runtimes.

    Args:
        turns: Turns of each way; medians and extremes are reported.
    """
    torch.set_num_threads(1)
    content: dict[str, Any] = {"threads": 1}
    for name in list_shipped_weights():
        with tempfile.TemporaryDirectory() as folder:
            content[name] = compare(name, Path(folder), turns)
    print(f"wrote {write_record('export', content)}")


@torch.no_grad()
def compare(name: str, folder: Path, turns: int) -> dict[str, Any]:
    """Export one generator; return sizes, differences and rates."""
    pipeline = TextToVideo.from_pretrained(name)
    graph = trace(pipeline)
    onnx_file, archive = folder / "generator.onnx", folder / "generator.pt2"
    write_onnx(graph, onnx_file)
    write_program(graph, archive)
    files = {"safetensors": find_weights(name), "onnx": onnx_file, "torch.export": archive}
    result: dict[str, Any] = {"bytes": {kind: file.stat().st_size for kind, file in files.items()}}
    print(f"{name}: {result['bytes']}")
    for batch_size in BATCH_SIZES:
        ways = make_ways(pipeline, onnx_file, archive, make_inputs(pipeline, batch_size))
        expected, *others = (np.asarray(way()) for way in ways.values())
        summary = summarise(run_turns(ways, turns), batch_size)
        print_summary(f"{name}, clips/s, batch {batch_size}", summary)
        result[f"batch_{batch_size}"] = {
            "clips_per_second": summary,
            "largest_difference": max(float(abs(other - expected).max()) for other in others),
        }
    return result


def make_inputs(pipeline: TextToVideo, batch_size: int) -> dict[str, torch.Tensor]:
    """Return a pass's inputs by name, for the trained frame count."""
    info = pipeline.info
    prompts = [info.prompts[index % len(info.prompts)] for index in range(batch_size)]
    token_ids, token_mask = map(torch.from_numpy, pipeline.vocabulary.encode(prompts))
    shape = pipeline.generator.latent_shape(info.num_frames)  # type: ignore[operator]
    source = torch.Generator().manual_seed(0)
    return {
        "token_ids": token_ids,
        "token_mask": token_mask,
        "latents": torch.randn(batch_size, *shape, generator=source),
        "times": torch.linspace(0, 1, info.num_frames).repeat(batch_size, 1),
    }


def make_ways(
    pipeline: TextToVideo, onnx_file: Path, archive: Path, inputs: dict[str, torch.Tensor]
) -> Ways:
    """Return the same pass in PyTorch, onnxruntime and torch.export."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(onnx_file), options)
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    order = ("latents", "token_ids", "token_mask", "times")
    return {
        "PyTorch": partial(pipeline.generator, *(inputs[name] for name in order)),
        "onnxruntime": lambda: session.run(["video"], arrays)[0],
        "torch.export": partial(torch.export.load(archive).module(), **inputs),
    }


if __name__ == "__main__":
    benchmark(run)
