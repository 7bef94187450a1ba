"""Exported files draw the same videos elsewhere; mistakes are one line."""

import json
import re
import sys
import zipfile
from pathlib import Path

import onnx
import pytest
from PIL import Image

from t2vgan.checkpoint.weights import save_weights
from t2vgan.commands.export import ExportOptions, choose_path
from t2vgan.config import NotebookGanConfig
from t2vgan.pipeline import TextToVideo
from t2vgan.pipeline.export import check_packages
from t2vgan.pipeline.export.files import write_onnx, write_program
from t2vgan.pipeline.export.graph import trace
from tests.support.exported import largest_differences, make_case, run_without_t2vgan
from tests.support.pipelines import (
    PROMPTS,
    VOCABULARY,
    describe,
    make_generator,
    make_phrases_pipeline,
)
from tests.support.warm import run_warm

ROOT = Path(__file__).parents[2]
NUM_FRAMES = 5
FILES = {"onnx": "videos.onnx", "torch.export": "videos.pt2"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of the notebook's network: the fastest to export."""
    path = tmp_path_factory.mktemp("run") / "weights.safetensors"
    info = describe(model=NotebookGanConfig(), height=64, width=64, fps=8)
    save_weights(path, make_generator("notebook_gan").state_dict(), info)
    return path


def export(weights, to, out):
    return run_warm("-m", "t2vgan", "export", weights, "--to", to, "--out", out)


def export_into(folder, weights, to):
    path = folder / FILES[to]
    result = export(weights, to, path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[1] == f"{path}.json"
    assert {file.name for file in folder.iterdir()} == {path.name, f"{path.name}.json"}
    return path


@pytest.fixture(scope="module")
def onnx_file(weights, tmp_path_factory):
    return export_into(tmp_path_factory.mktemp("onnx"), weights, "onnx")


@pytest.fixture(scope="module")
def archive(weights, tmp_path_factory):
    return export_into(tmp_path_factory.mktemp("archive"), weights, "torch.export")


@pytest.fixture(params=["onnx_file", "archive"])
def exported(request):
    """A file of each format, made by the command."""
    return request.getfixturevalue(request.param)


def test_any_number_of_clips_words_and_frames_draws_the_same(exported, weights, tmp_path):
    pipeline = TextToVideo.from_pretrained(weights)
    cases = [
        make_case(pipeline, (PROMPTS * 2)[:num_clips], num_frames, seed=num_frames)
        for num_clips, num_frames in [(1, 1), (1, NUM_FRAMES), (8, NUM_FRAMES), (3, 2), (2, 19)]
    ]
    assert max(largest_differences(exported, pipeline, cases, tmp_path)) < 1e-5


def read_description(path):
    """Return the description that a file itself holds."""
    if path.suffix == ".onnx":
        (entry,) = onnx.load(path).metadata_props
        assert entry.key == "t2vgan"
        return json.loads(entry.value)
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("t2vgan.json"))
        return json.loads(archive.read(name))


def test_the_description_is_in_the_file_and_beside_it(exported):
    description = json.loads(exported.with_name(f"{exported.name}.json").read_text())
    assert read_description(exported) == description
    assert (description["num_frames"], description["fps"]) == (NUM_FRAMES, 8)
    assert description["inputs"]["latents"]["shape"] == ["batch", "frames", 100]
    assert description["outputs"]["video"]["shape"] == ["batch", 3, "frames", 64, 64]
    assert description["tokenizer"]["ids"]["circle"] == VOCABULARY.ids["circle"]
    assert description["example_prompts"] == PROMPTS[:3]


def test_the_description_encodes_prompts_as_the_vocabulary(exported):
    tokenizer = read_description(exported)["tokenizer"]
    for prompt in (*PROMPTS, "CIRCLE; moving-UP " * 40):
        words = re.findall(tokenizer["pattern"], prompt.lower())[: tokenizer["max_tokens"]]
        ids = [tokenizer["ids"][each] for each in words]
        assert ids == VOCABULARY.encode([prompt])[0][0].tolist()


@pytest.mark.system  # each export takes half a minute
@pytest.mark.parametrize("write", [write_program, write_onnx])
def test_phrases_are_drawn_the_same(write, tmp_path):
    pipeline = make_phrases_pipeline()
    path = tmp_path / ("a.onnx" if write is write_onnx else "a.pt2")
    graph = trace(pipeline)
    write(graph, path)
    prompts = [*pipeline.info.prompts, "a circle shrinking, the circle is moving up"]
    cases = [make_case(pipeline, prompts, 5), make_case(pipeline, prompts[1:2], 9)]
    assert max(largest_differences(path, pipeline, cases, tmp_path)) < 1e-5
    tokenizer = graph.description["tokenizer"]
    for prompt in prompts:
        ids = []
        most = tokenizer["max_phrases"] - 1
        for phrase in re.split(tokenizer["phrase_start"], prompt, maxsplit=most):
            words = re.findall(tokenizer["pattern"], phrase)
            ids += [0] * bool(ids) + [tokenizer["ids"][each] for each in words]
        assert ids == pipeline.vocabulary.encode([prompt])[0][0].tolist()


def test_files_hold_no_path_and_no_example_of_inputs(exported, weights):
    content = exported.read_bytes()
    assert str(ROOT).encode() not in content
    assert str(Path(sys.prefix)).encode() not in content
    assert len(content) < 1.1 * weights.stat().st_size


def test_onnx_names_its_inputs_and_passes_its_checker(onnx_file):
    model = onnx.load(onnx_file)
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "token_ids": ["batch", "tokens"],
        "token_mask": ["batch", "tokens"],
        "latents": ["batch", "frames", 100],
        "times": ["batch", "frames"],
        "video": ["batch", 3, "frames", 64, 64],
    }


def test_the_program_of_the_documentation_draws_a_gif(onnx_file, tmp_path):
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text(), re.S)[0]
    assert len(code.strip().splitlines()) <= 30
    out = tmp_path / "circle.gif"
    run_without_t2vgan(code, onnx_file, "circle moving up-right", out)
    with Image.open(out) as video:
        assert (video.size, video.n_frames, video.info["duration"]) == ((64, 64), NUM_FRAMES, 120)


@pytest.mark.parametrize(
    ("to", "out", "name"),
    [
        ("onnx", "runs/v1.2", "runs/v1.2/generator.onnx"),
        ("torch.export", "runs", "runs/generator.pt2"),
        ("onnx", "a.onnx", "a.onnx"),
    ],
)
def test_out_is_a_file_or_a_folder(tmp_path, to, out, name):
    assert choose_path(ExportOptions(Path("circles"), tmp_path / out, to)) == tmp_path / name


@pytest.mark.parametrize(
    ("to", "out", "message"),
    [
        ("tflite", "a.onnx", r"Invalid choice 'tflite' for argument '--to'"),
        ("onnx", "a.pt2", r"--out \S+a\.pt2: must end in \.onnx with --to onnx"),
        ("torch.export", "a.onnx", r"must end in \.pt2 with --to torch\.export"),
        ("onnx", "full/a.onnx", r"full/a\.onnx exists; remove it or choose another name"),
        ("onnx", "full/b.onnx", r"full/b\.onnx\.json exists; remove it or choose another name"),
        ("onnx", "full/a.onnx/c", r"a\.onnx is a file; choose another folder"),
    ],
)
def test_mistakes_on_the_command_line(tmp_path, to, out, message):
    (tmp_path / "full").mkdir()
    for name in ("a.onnx", "b.onnx.json"):
        (tmp_path / "full" / name).write_text("mine")
    result = export("circles", to, tmp_path / out)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert re.search(message, line)
    assert (tmp_path / "full/a.onnx").read_text() == "mine"


def test_weights_of_another_version(weights, tmp_path):
    content = weights.read_bytes()
    other = tmp_path / "weights.safetensors"
    other.write_bytes(content.replace(b'"format_version":"1"', b'"format_version":"2"'))
    result = export(other, "onnx", tmp_path / "a.onnx")
    assert result.returncode == 2
    assert "format version '2', but this t2vgan reads '1'" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "a.onnx").exists()
    result = export(tmp_path / "nothing", "onnx", tmp_path / "a.onnx")
    assert "no such file; give a run folder" in result.stderr.splitlines()[-1]


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr("t2vgan.pipeline.export.files.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"onnx and onnxscript: pip install 't2vgan\[export\]'"):
        check_packages()
