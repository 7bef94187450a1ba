"""Files of launch/ agree with each other, the programs and their docs."""

import os
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from data_tools.pack_videos import PackOptions
from t2vgan.commands import train
from t2vgan.config.presets import PRESETS
from t2vgan.data.batch_plan import plan_batches
from t2vgan.utils import cli

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "launch"


def load_documents(name: str) -> list[dict]:
    return list(yaml.safe_load_all((LAUNCH / name).read_text()))


def container(job: dict) -> dict:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return found


def environment(found: dict) -> dict[str, str | None]:
    return {entry["name"]: entry.get("value") for entry in found["env"]}


def test_every_file_is_in_the_table_or_beside_one_that_is():
    table = (LAUNCH / "README.md").read_text()
    files = {path for path in LAUNCH.rglob("*") if path.is_file()} - {LAUNCH / "README.md"}
    assert len(files) == 15
    missing = {path.name for path in files if path.name not in table}
    assert missing == {"Containerfile"}


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("accelerate/*.yaml")), ids=lambda p: p.stem)
def test_accelerate_reads_its_files(path):
    """accelerate refuses unknown keys; the number of GPUs is checked here."""
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    gpus = getattr(config, "gpu_ids", None)
    if gpus:
        assert len(gpus.split(",")) * config.num_machines == config.num_processes


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("accelerate/*.yaml")), ids=lambda p: p.stem)
def test_accelerates_processes_divide_the_streams(path):
    """Of its own example, or of every preset where it has none."""
    world_size = yaml.safe_load(path.read_text())["num_processes"]
    examples = [command for program, command in commands_in(path) if "accelerate" in program]
    for arguments in examples or [[preset] for preset in PRESETS]:
        plan_batches(train.read(arguments).config, world_size)


def commands_in(path: Path) -> list[tuple[list[str], list[str]]]:
    """Find training commands in comments: before and after the program's name."""
    text = re.sub(r"\\\n# *", "", path.read_text())
    words = [shlex.split(line) for line in re.findall(r"^#   (.*)$", text, re.MULTILINE)]
    names = ("train.py", "launch/slurm/train.sbatch")
    found = [(line, place) for line in words for place in range(len(line)) if line[place] in names]
    return [(line[:place], line[place + 1 :]) for line, place in found]


def test_slurms_processes_divide_the_streams():
    examples = commands_in(LAUNCH / "slurm/train.sbatch")
    sizes = []
    for program, arguments in examples:
        options = dict(pairwise(program))
        sizes.append(int(options.get("--nodes", 1)) * int(options.get("--ntasks-per-node", 1)))
        plan_batches(train.read(arguments).config, sizes[-1])
    assert sizes == [1, 32]


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("slurm/*.sbatch")), ids=lambda p: p.stem)
def test_batch_files_are_shell(path):
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.parametrize(("variables", "port"), [({}, "20007"), ({"MASTER_PORT": "777"}, "777")])
def test_a_batch_file_says_where_its_processes_meet_and_asks_for_a_next_life(
    variables, port, tmp_path
):
    """With stand-ins for Slurm's commands; tests/system/test_slurm.py has the real ones."""
    for name, script in {
        "scontrol": '[ "$1" = show ] && printf "a.b\\na.c\\n" || echo "$@"',
        "srun": 'echo "$MASTER_ADDR $MASTER_PORT $WORLD_SIZE"; exit 75',
        "squeue": "echo RUNNING",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "10007", "SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "a.[b-c]"}
    result = subprocess.run(
        ["bash", LAUNCH / "slurm/train.sbatch", "quickstart"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **job, **variables},
        capture_output=True,
        text=True,
    )
    assert result.stdout.splitlines() == [f"a.b {port} 2", "requeue 10007"], result.stderr
    assert result.returncode == 75


def test_the_jobs_of_kubernetes_train_with_a_world_size_that_divides():
    service, job = load_documents("kubernetes/train.yaml")
    pod, spec = job["spec"]["template"]["spec"], job["spec"]
    found = container(job)
    variables = environment(found)
    program, *arguments = found["args"]
    assert program == "train.py"
    command = train.read(arguments)
    assert command.exit_code_when_stopped == 75
    world_size = int(variables["WORLD_SIZE"])
    assert world_size == spec["completions"] == spec["parallelism"]
    plan_batches(command.config, world_size)
    job_name, service_name = job["metadata"]["name"], service["metadata"]["name"]
    assert variables["MASTER_ADDR"] == f"{job_name}-0.{service_name}"
    assert pod["subdomain"] == service_name
    assert service["spec"]["selector"] == {"job-name": job_name}
    assert int(variables["MASTER_PORT"]) == service["spec"]["ports"][0]["port"]


def test_the_job_of_kubeflow_trains_with_a_world_size_that_divides():
    (job,) = load_documents("kubernetes/trainjob.yaml")
    trainer = job["spec"]["trainer"]
    command = train.read(trainer["args"][1:])
    plan_batches(command.config, trainer["numNodes"] * trainer["numProcPerNode"])
    assert trainer["numProcPerNode"] == int(trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"])


def test_the_pods_that_pack_are_as_many_as_they_think():
    (job,) = load_documents("kubernetes/shards.yaml")
    count = int(environment(container(job))["JOB_COMPLETION_COUNT"])
    assert count == job["spec"]["completions"] == job["spec"]["parallelism"]
    module, *arguments = container(job)["args"][1:]
    options = cli.parse(PackOptions, prog=module, args=arguments)
    (merge,) = load_documents("kubernetes/merge.yaml")
    assert container(merge)["args"][-1] == str(options.out)


def test_all_pods_use_the_volume_that_is_made_for_them():
    (volume,) = load_documents("kubernetes/volume.yaml")
    texts = [path.read_text() for path in LAUNCH.glob("kubernetes/*.yaml")]
    claims = {name for text in texts for name in re.findall(r"claimName: (\w+)", text)}
    assert claims == {volume["metadata"]["name"]}


def test_skypilots_run_is_a_command_of_train_py():
    import json

    from jsonschema import validate

    (task,) = load_documents("skypilot/train.yaml")
    validate(task, json.loads((ROOT / "tests/system/skypilot_task.schema.json").read_text()))
    arguments = [task["envs"]["PRESET"], *task["envs"]["OPTIONS"].split()]
    plan_batches(train.read(arguments).config, 8)
