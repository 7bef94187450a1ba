"""The commands in launch/ as they stand, with tiny runs and without GPUs."""

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml

from tests.support.commands import BIN, ROOT, environment, run, run_ok, train

LAUNCH = ROOT / "launch"
SHORT = ("--train.num-steps", 2, "--train.precision", "auto")


def accelerate(file: str, *options: object) -> tuple:
    return (BIN / "accelerate", "launch", "--config_file", LAUNCH / "accelerate" / file, *options)


@pytest.mark.parametrize(
    ("file", "options", "expected"),
    [
        ("cpu.yaml", (), (2, "float32|bfloat16")),
        ("single_gpu.yaml", ("--gpu_ids", "all"), (1, "float32|bfloat16")),
        ("fp16_single_gpu.yaml", ("--gpu_ids", "all"), (1, "float16")),
        ("multi_gpu.yaml", ("--gpu_ids", "all", "--num_processes", 2), (2, "float32|bfloat16")),
    ],
)
def test_accelerates_files_start_what_they_say(file, options, expected, circles, tmp_path):
    """multi_node.yaml is in test_nodes.py, one_process.yaml in test_stops.py."""
    result = run_ok(*accelerate(file, *options), *train(circles, tmp_path / "run", *SHORT))
    found = json.loads((tmp_path / "run" / "run.json").read_text())
    world_size, precision = expected
    assert found["world_size"] == world_size
    assert found["command"].startswith("accelerate launch train.py quickstart --data.path ")
    assert re.fullmatch(precision, found["precision"])
    assert f"{world_size} process" in result.stderr
    assert "(no GPU found)" in result.stderr


def test_a_file_that_asks_for_a_gpu_where_there_is_none(circles, tmp_path):
    result = run(*accelerate("single_gpu.yaml"), *train(circles, tmp_path / "run"))
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "CUDA_VISIBLE_DEVICES=0 asks for GPUs" in line
    assert "launch/accelerate/cpu.yaml" in line


# --- Kubernetes -----------------------------------------------------------------------------------


def test_every_field_is_one_that_kubernetes_knows():
    """The models come from its OpenAPI schemas; what they do not know is lost on the way."""
    from kubeflow_trainer_api import models

    kinds = {
        "Service": models.IoK8sApiCoreV1Service,
        "Job": models.IoK8sApiBatchV1Job,
        "PersistentVolumeClaim": models.IoK8sApiCoreV1PersistentVolumeClaim,
        "TrainJob": models.TrainerV1alpha1TrainJob,
    }
    seen = set()
    for path in sorted(LAUNCH.glob("kubernetes/*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            model = kinds[document["kind"]].from_dict(document)
            assert model.to_dict() == document, path.name
            seen.add(document["kind"])
    assert seen == set(kinds)


def test_the_pods_of_the_training_job_train_together(circles, tmp_path):
    """Its arguments and variables as they stand, but for data, sizes and the name of pod 0."""
    _, job = yaml.safe_load_all((LAUNCH / "kubernetes" / "train.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    smaller = train(circles, tmp_path / "run", "--train.num-steps", 2)[2:]
    pods = []
    for rank in range(job["spec"]["completions"]):
        variables = {entry["name"]: entry.get("value", str(rank)) for entry in container["env"]}
        variables["MASTER_ADDR"] = "localhost"
        pods.append(
            subprocess.Popen(
                [sys.executable, *container["args"], *map(str, smaller)],
                cwd=ROOT,
                env=environment(**variables),
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for pod in pods:
        _, output = pod.communicate(timeout=200)
        assert pod.returncode == 0, output
    assert '"world_size": 2' in (tmp_path / "run" / "run.json").read_text()


def test_the_image_installs_and_answers(tmp_path):
    """Its COPY, its `pip install` and its command, in a new virtual environment.

    The dependencies are those of the tests: an image downloads gigabytes of them.
    """
    lines = (LAUNCH / "kubernetes" / "Containerfile").read_text().splitlines()
    words = {line.split()[0]: line.split()[1:] for line in lines if line[:1].isupper()}
    for line in lines:
        if line.startswith("COPY"):
            *sources, target = line.split()[1:]
            subprocess.run(["cp", "-r", *sources, tmp_path / target], cwd=ROOT, check=True)
    venv.create(tmp_path / "venv", with_pip=True)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(str(Path(pytest.__file__).parents[1]))
    (install,) = (line for line in lines if line.startswith("RUN pip install"))
    path = {"PATH": f"{tmp_path}/venv/bin:{os.environ['PATH']}", "PYTHONPATH": ""}
    run_ok(*install.split()[1:], "--no-deps", cwd=tmp_path, **path)
    entry, command = (json.loads(" ".join(words[name])) for name in ("ENTRYPOINT", "CMD"))
    result = run_ok(*entry, *command, cwd=tmp_path, **path)
    assert "presets:" in result.stdout
    result = run_ok(*entry, "-m", "data_tools.pack_videos", "--help", cwd=tmp_path, **path)
    assert "--task-index" in result.stdout


# --- SkyPilot -------------------------------------------------------------------------------------


def test_skypilots_run_trains(circles, tmp_path):
    task = yaml.safe_load((LAUNCH / "skypilot" / "train.yaml").read_text())
    preset, *options = train(circles, tmp_path / "run", "--train.num-steps", 2)[1:]
    variables = {
        "PRESET": preset,
        "OPTIONS": " ".join(map(str, options)),
        "SKYPILOT_NUM_GPUS_PER_NODE": "2",
    }
    script = task["run"].replace(".venv/bin", str(BIN))
    run_ok("bash", "-c", script, **variables)
    assert '"world_size": 2' in (tmp_path / "run" / "run.json").read_text()
