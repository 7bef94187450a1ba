"""Ranks that fit together and ranks that do not, each a real process with its own surroundings."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from t2vgan.commands.train import read
from t2vgan.config import Config
from t2vgan.data.manifest import load_manifest, write_manifest
from t2vgan.training.preflight.check_result import FIT, UNFIT
from t2vgan.training.preflight.settings import check_run
from t2vgan.training.preflight.storage import checkpoint_bytes
from t2vgan.training.run_dir import load_config, write_run_files
from tests.faults.same_run import newest_checkpoint
from tests.support.commands import ROOT, environment, faulty, free_port, train
from tests.support.warm import run_ranks, run_warm, start_ranks

PREFLIGHT = "--preflight"
CHECKS = (
    "devices", "all-reduce", "clocks", "software", "config", "tracking", "shared folder", "shards",
    "run", "free space",
)  # fmt: skip


def run_as_ranks(*commands: Sequence[object]) -> list[subprocess.CompletedProcess[str]]:
    """Run commands of train.py, one as each rank, as two nodes do."""
    return [process.complete() for process in start_ranks(*commands)]


def run_cold(
    *commands: Sequence[object], root: Path = ROOT
) -> list[subprocess.CompletedProcess[str]]:
    """Run any commands so; the last one in `root`."""
    processes, port = [], free_port()
    for rank, command in enumerate(commands):
        folder = root if rank == len(commands) - 1 else ROOT
        env = environment(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(len(commands)),
            LOCAL_WORLD_SIZE=str(len(commands)), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
            PYTHONPATH=str(folder),
        )  # fmt: skip
        processes.append(
            subprocess.Popen(
                list(map(str, command)),
                cwd=folder,
                env=env,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
    outputs = [process.communicate(timeout=300) for process in processes]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *output)
        for process, output in zip(processes, outputs, strict=True)
    ]


def rows(output: str) -> dict[str, tuple[str, str]]:
    """Return the table's rows: check -> (verdict, what was found)."""
    cells = [line.strip("│ ").split("│") for line in output.splitlines() if line.startswith("│")]
    return {name.strip(): (verdict.strip(), text.strip()) for name, verdict, text in cells}


@pytest.mark.parametrize("world_size", [1, 2])
def test_all_is_well(world_size, circles, tmp_path):
    run_dir = tmp_path / "run"
    command = train(circles, run_dir, PREFLIGHT)
    results = [run_warm(*command)] if world_size == 1 else run_ranks(2, *command)
    assert [result.returncode for result in results] == [0] * world_size, results
    table = rows(results[0].stdout)
    assert tuple(table) == CHECKS
    assert {verdict for verdict, _ in table.values()} == {"fit"}
    assert "6 shards" in table["shards"][1]
    assert "6 checksums" in table["shards"][1], "every shard on one rank or another"
    assert not run_dir.exists(), "nothing stays"
    if world_size == 2:
        assert "gloo" in table["all-reduce"][1]
        assert "GB/s" in table["all-reduce"][1]


def test_another_config_on_a_rank(circles, tmp_path):
    """Named by the preflight, and once by the run itself, which stops on both ranks."""
    one = train(circles, tmp_path / "run")
    other = train(circles, tmp_path / "run", "--train.generator-lr", 0.1)
    for result in run_as_ranks((*one, PREFLIGHT), (*other, PREFLIGHT)):
        assert result.returncode == 2
    expected = "--train.generator_lr is 0.002, but 0.1 on rank 1"
    first, second = run_as_ranks(one, other)
    assert (first.returncode, second.returncode) == (2, 2)
    assert f"error: the ranks do not agree: {expected}" in first.stderr
    assert "Traceback" not in first.stderr + second.stderr
    assert "error:" not in second.stderr
    assert not (tmp_path / "run").exists()


def test_another_precision_on_a_rank(circles, tmp_path):
    """As where `auto` finds other devices: gradients scaled differently would be averaged."""
    place = circles, tmp_path / "run", "--train.precision", "auto"
    one, other = train(*place), faulty("asked for float16", *place)
    expected = "the precision (--train.precision sets one for all ranks) is"
    first, second = run_as_ranks(one, other)
    assert (first.returncode, second.returncode) == (2, 2)
    assert f"error: the ranks do not agree: {expected}" in first.stderr
    assert "but float16 on rank 1" in first.stderr
    assert "Traceback" not in first.stderr + second.stderr
    first, second = run_as_ranks((*one, PREFLIGHT), (*other, PREFLIGHT))
    assert (first.returncode, second.returncode) == (2, 2)
    verdict, text = rows(first.stdout)["config"]
    assert verdict != "fit"
    assert text.startswith(expected)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["--dry-run", "--preflight", "--rollback"])
def test_an_option_on_one_rank_only(option, circles, tmp_path):
    command = train(circles, tmp_path / "run")
    first, second = run_as_ranks(command, (*command, option))
    assert (first.returncode, second.returncode) == (2, 2)
    assert f"was started to train {option}, but rank 0 on" in first.stderr
    assert "Traceback" not in first.stderr + second.stderr
    assert not (tmp_path / "run").exists()


def test_other_code_on_a_rank(circles, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "t2vgan", copy / "t2vgan")
    shutil.copy(ROOT / "train.py", copy)
    with open(copy / "t2vgan" / "gan" / "losses.py", "a") as file:
        file.write("# somebody's experiment\n")
    command = (sys.executable, *train(circles, tmp_path / "run", PREFLIGHT))
    first, _ = run_cold(command, command, root=copy)
    assert first.returncode == 2
    verdict, text = rows(first.stdout)["software"]
    assert verdict == "NOT FIT"
    assert text.startswith("code t2vgan/gan/losses.py is ")
    assert text.endswith("on rank 1")


@pytest.mark.skipif(os.geteuid() != 0, reason="another file system at the same place needs root")
def test_a_folder_that_only_looks_shared(circles, tmp_path):
    """In rank 1's own mount namespace another file system lies over the run's folder."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    command = (sys.executable, *train(circles, run_dir, PREFLIGHT))
    cover = f'mount -t tmpfs tmpfs "{run_dir}" && exec "$@"'
    covered = ("unshare", "--mount", "sh", "-c", cover, "sh", *command)
    first, second = run_cold(command, covered)
    assert (first.returncode, second.returncode) == (2, 2), first.stderr + second.stderr
    verdict, text = rows(first.stdout)["shared folder"]
    assert verdict == "NOT FIT"
    assert "rank 0 does not see what rank 1 writes" in text
    assert list(run_dir.iterdir()) == []


def test_data_that_one_rank_lacks_or_has_damaged(circles, tmp_path):
    """The run stops on both ranks at once, though one of them has all it needs."""
    damaged = Path(shutil.copytree(circles, tmp_path / "damaged"))
    shard = damaged / load_manifest(damaged).shards[1].name
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    good = train(circles, tmp_path / "run")
    bad = train(damaged, tmp_path / "run")
    first, _ = run_as_ranks((*good, PREFLIGHT), (*bad, PREFLIGHT))
    verdict, text = rows(first.stdout)["shards"]
    assert first.returncode == 2
    assert verdict == "NOT FIT"
    assert text.startswith(f"rank 1: {shard}: expected sha256")

    missing = train(tmp_path / "nowhere", tmp_path / "run")
    results = run_as_ranks(good, missing)
    assert [result.returncode for result in results] == [2, 2]
    errors = "".join(result.stderr for result in results)
    assert errors.count("error: rank 1 on ") == 1, "once on this machine"
    assert f": data folder {tmp_path / 'nowhere'} does not exist" in errors


SLOW_READER = """
import os, sys, time
from t2vgan.commands import train
from t2vgan.training.preflight import run as preflight
from t2vgan.data.dataset import LocalDataset
preflight.TIMEOUT_SECONDS = 10
really_open = LocalDataset.open
def slowly(*arguments, **options):
    time.sleep(15)
    return really_open(*arguments, **options)
if os.environ["RANK"] == "1":
    LocalDataset.open = slowly
train.main()
"""


def test_a_rank_that_reads_a_large_shard_is_waited_for(circles, tmp_path):
    (tmp_path / "slow_reader.py").write_text(SLOW_READER)
    _, *arguments = train(circles, tmp_path / "run", PREFLIGHT)
    for result in run_ranks(2, tmp_path / "slow_reader.py", *arguments):
        assert result.returncode == 0, result.stdout + result.stderr


def test_a_clock_that_is_wrong_is_a_warning(circles, tmp_path):
    """Rank 1's clock is an hour off, one way and the other."""
    good = train(circles, tmp_path / "run", PREFLIGHT)
    bad = faulty("jumping clock", circles, tmp_path / "run", PREFLIGHT)
    first, second = run_as_ranks(good, bad)
    assert (first.returncode, second.returncode) == (0, 0), first.stdout + second.stderr
    verdict, text = rows(first.stdout)["clocks"]
    assert verdict == "warning"
    assert text.startswith(("rank 1 is +3600", "rank 1 is -3600"))


def test_a_batch_that_does_not_divide_a_disk_without_room_and_no_key(circles, small_disk):
    command = train(circles, small_disk / "run", PREFLIGHT, "--tracking", "wandb")
    wide = ("--model.channels", 64, "--model.hidden-size", 512, "--train.global-batch-size", 10)
    places = environment(HOME=str(small_disk), NETRC=str(small_disk / "none"))
    result = run_warm(*command, *wide, variables=places)
    assert result.returncode == 2
    table = rows(result.stdout)
    assert table["config"][0] == "NOT FIT"
    assert "10 = 2 * 4 + 2" in table["config"][1]
    assert table["free space"][0] == "NOT FIT"
    assert table["tracking"] == ("warning", "wandb has no key: it would record offline")
    assert "not fit: config, free space on 1 process" in result.stdout


class OneProcess:
    """Stands for one process."""

    world_size = 1

    def run_on_main(self, work):
        return work()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--data.num-streams", 8), "data.num_streams=8 must be at most the number of shards = 6"),
        (("--train.frames-per-clip", 9), "train.frames_per_clip=9 must be at most the 6 frames"),
        (("--model.patch-size", 5), "height=32 must be a multiple of"),
        (("--train.seed", 1), "was started with other options (train.seed: 0 -> 1)"),
    ],
)
def test_what_training_would_refuse(options, expected, circles, tmp_path):
    def config(run_dir: Path, *options: object) -> Config:
        return read([str(part) for part in train(circles, run_dir, *options)[1:]]).config

    write_run_files(config(tmp_path / "started"), {})
    run_dir = tmp_path / ("started" if "--train.seed" in options else "new")
    finding = check_run(OneProcess(), config(run_dir, *options))
    assert (finding.name, finding.verdict) == ("run", UNFIT)
    assert expected in finding.text
    longer = check_run(OneProcess(), config(tmp_path / "started", "--train.num-steps", 20))
    assert (longer.verdict, longer.text) == (FIT, "train.num_steps: 12 -> 20")


def test_data_that_the_run_was_not_trained_on(finished_run, circles, tmp_path):
    run_dir, other = tmp_path / "run", tmp_path / "other"
    shutil.copytree(finished_run, run_dir)
    shutil.copytree(circles, other)
    manifest = load_manifest(other)
    write_manifest(other, manifest.model_copy(update={"fps": manifest.fps + 1}))

    def preflight(data: Path) -> tuple[str, str]:
        arguments = train(data, run_dir)[1:]
        finding = check_run(OneProcess(), read([str(part) for part in arguments]).config)
        return finding.verdict, finding.text

    verdict, text = preflight(other)
    assert (verdict, "is not the data that" in text) == (UNFIT, True), text
    for folder in (run_dir / "checkpoints").iterdir():
        (folder / "state.json").write_text("{")
    assert preflight(other)[0] == FIT, "a damaged checkpoint is set aside"


def test_the_expected_size_of_a_checkpoint(finished_run, circles):
    found = sum(path.stat().st_size for path in newest_checkpoint(finished_run).iterdir())
    expected = checkpoint_bytes(load_config(finished_run / "config.json"), load_manifest(circles))
    assert 0.6 * found < expected < found, "the rest is names and headers: the model is tiny"


def test_a_checkpoint_counts_the_words_of_the_weights_that_training_starts_from(circles, tmp_path):
    arguments = [str(part) for part in train(circles, tmp_path)[1:]]
    config, manifest = read(arguments).config, load_manifest(circles)
    grown = config.model_copy(update={"init_from": "shapes"})
    assert checkpoint_bytes(grown, manifest) > checkpoint_bytes(config, manifest)
