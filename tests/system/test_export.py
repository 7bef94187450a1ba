"""The shipped weights, exported, draw what t2vgan draws, where it is not installed."""

import pytest
import torch

from t2vgan.checkpoint.weights import list_shipped_weights
from t2vgan.models import build_generator
from t2vgan.pipeline import TextToVideo
from t2vgan.pipeline.export import trace, write_onnx, write_program
from tests.support.exported import largest_differences, make_case
from tests.support.pipelines import VOCABULARY, describe
from tests.support.small_networks import KINDS, H, W

pytestmark = pytest.mark.system
MAX_DIFFERENCE = 1e-4  # of values from -1 to 1


def export(pipeline, folder):
    graph = trace(pipeline)
    write_onnx(graph, folder / "a.onnx")
    write_program(graph, folder / "a.pt2")
    return folder / "a.onnx", folder / "a.pt2"


@pytest.mark.parametrize("name", list_shipped_weights())
def test_shipped_weights(name, tmp_path):
    """About 16 of its prompts, of several lengths in a batch, and 8 held-out ones."""
    pipeline = TextToVideo.from_pretrained(name)
    info = pipeline.info
    prompts = [*info.prompts[:: max(1, len(info.prompts) // 16)], *info.held_out_prompts[:8]]
    batches = [prompts[start : start + 8] for start in range(0, len(prompts), 8)]
    cases = [
        make_case(pipeline, batch, info.num_frames, seed=8 * number)
        for number, batch in enumerate(batches)
    ]
    lengths = (1, 2, info.num_frames - 1, info.num_frames, 2 * info.num_frames - 1, 48)
    cases += [make_case(pipeline, batches[0][:1], length, seed=5) for length in lengths]
    cases += [make_case(pipeline, batches[1], length, seed=6) for length in (3, 33)]
    for file in export(pipeline, tmp_path):
        assert max(largest_differences(file, pipeline, cases, tmp_path)) < MAX_DIFFERENCE


@pytest.mark.parametrize("kind", ["rich", "sprites and a camera", "a scene and motion"])
def test_every_kind_of_network(kind, tmp_path):
    torch.manual_seed(0)
    model = KINDS[kind]
    size = {"height": H, "width": W}
    generator = build_generator(model, **size, vocabulary_size=len(VOCABULARY)).eval()
    for parameter in generator.parameters():  # none at zero, or it would hide its layer
        parameter.data += 0.1 * torch.randn_like(parameter)
    pipeline = TextToVideo(generator, VOCABULARY, describe(model=model, **size))
    prompts = ["circle moving up", "circle", "circle rotating counter-clockwise"]
    cases = [make_case(pipeline, prompts[:n], length) for n, length in [(1, 5), (3, 5), (2, 12)]]
    for file in export(pipeline, tmp_path):
        assert max(largest_differences(file, pipeline, cases, tmp_path)) < MAX_DIFFERENCE
