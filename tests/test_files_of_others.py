"""Whatever a file of others holds: it is read, or refused in one line.

Of every kind one example is damaged in its values and in its bytes. Our own exceptions, and those
of the system (`OSError`), become one line (`t2vgan.utils.cli.run`); any other fails here.
"""

import contextlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from data_tools.build.journal import read_failures, read_journals
from t2vgan.checkpoint import storage
from t2vgan.checkpoint.tensor_files import compute_digest, read_tensors, write_tensors
from t2vgan.checkpoint.weights import load_weights
from t2vgan.config import Config, TrainConfig
from t2vgan.data.manifest import ShardEntry, parse_manifest
from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.heartbeat import format_rank, parse_status
from t2vgan.errors import UserError
from t2vgan.evaluation.prompt_list import find_prompts
from t2vgan.gan.metrics import MetricAccumulator
from t2vgan.pipeline import TextToVideo
from t2vgan.report import write_report
from t2vgan.report.records import read_evaluation
from t2vgan.tracking.metrics_log import JsonlLogger
from t2vgan.tracking.watch.follow import Follower
from t2vgan.tracking.watch.view import draw
from t2vgan.training.checkpointer import parse_state
from t2vgan.training.health.alarms import AlarmMonitor
from t2vgan.training.health.faults import BadSamples
from t2vgan.training.health.nonfinite import NonFiniteStop
from t2vgan.training.initial_weights import InitialWeights, find_initial_weights
from t2vgan.training.lengthening import adapt_lengths
from t2vgan.training.run_dir import check_same_run, load_config, read_lengths
from t2vgan.training.state import TrainingClock
from t2vgan.utils import tables
from tests.support.mutations import damaged, documents, texts
from tests.support.run_folders import make_evaluation, make_run
from tests.support.saved_runs import write_sealed
from tests.support.shards import make_manifest

OLD_RUN = Path(__file__).parent / "golden/run_dir_format_1"
CHECKPOINT = OLD_RUN / "checkpoints/step_00000006"
STATE = json.loads((CHECKPOINT / "state.json").read_text()) | {
    "bad_clips": {"damaged": 2},
    "schedule_lengths": [[0, 12], [6, 24]],
    "alarms": {"blind_discriminator": [True, False], "seeds_ignored": [True]},
    "unread_notes": {"loss/generator": [[1.5, 2.0]]},
}
FAILURE = {"row": 1, "clip": None, "source": "a.mp4", "reason": "damaged", "message": "no video"}
ENTRY = {"name": "a-0.tar", "num_samples": 4, "num_bytes": 9000, "sha256": "a" * 64}
MANIFEST = make_manifest(ShardEntry(**ENTRY)).as_json() | {
    "shards": [ENTRY, ENTRY | {"name": "a-1.tar"}],
    "input": {"num_rows": 9, "failures": {"damaged": 1}},
    "held_out_prompts": ["a b"],
}
HEADER = {name: MANIFEST[name] for name in ("builder", "builder_version", "builder_config",
          "geometry", "fps", "held_out_prompts")} | {"num_shards": 2}  # fmt: skip
BUILT = {"index": 0, "entry": ENTRY, "prompts": {"a": 4}, "failures": [FAILURE]}
BEAT = {"host": "a", "pid": 1, "step": 20, "doing": "training", "seconds": 0.5}
# The same examples each time: a change is judged, not luck. `derandomize=False` finds others.
quick = settings(max_examples=80, derandomize=True, suppress_health_check=list(HealthCheck))
slow = settings(max_examples=15, derandomize=True, suppress_health_check=list(HealthCheck))


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Allow what a command would print as its one line."""
    with contextlib.suppress(UserError, storage.DamagedError, OSError):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("others")


@quick
@given(texts(MANIFEST))
def test_manifests(text):
    with one_line():
        manifest = parse_manifest(text, "manifest.json")
        assert manifest.fingerprint
        assert manifest.num_samples <= 10**8


@quick
@given(texts(STATE))
def test_states_of_checkpoints(folder, text):
    (folder / "state.json").write_bytes(text)
    with one_line():
        state = parse_state(folder, 6, storage.read_state(folder))
        MetricAccumulator(DistributedContext(num_cpu_threads=1)).load_state_dict(state.unread_notes)
        alarms = AlarmMonitor(TrainConfig(), 10)
        alarms.load_state_dict(state.alarms)
        assert alarms.active is not None
        adapt_lengths(state.schedule_lengths or [(0, 9)], TrainConfig(num_steps=48), state.step)
        TrainingClock(8).load(state)
        bad_samples = BadSamples(Config().data)
        bad_samples.load(state.bad_clips)
        assert bad_samples.total >= 0


@quick
@given(documents(json.loads((CHECKPOINT / "MANIFEST.json").read_text())))
def test_sealed_manifests_of_checkpoints(folder, fields):
    copy = folder / "checkpoints" / CHECKPOINT.name
    if not copy.exists():
        shutil.copytree(CHECKPOINT, copy)
    with contextlib.suppress(TypeError, AttributeError, ValueError):  # not even sealed then
        write_sealed(copy, fields)
    with one_line():
        storage.verify(copy)


@quick
@given(texts(json.loads((OLD_RUN / "config.json").read_text())))
def test_configs(folder, text):
    (folder / "config.json").write_bytes(text)
    with one_line():
        load_config(folder / "config.json")
    with one_line():
        check_same_run(Config(run_dir=folder))


@quick
@given(
    texts({"schedule_lengths": [[0, 12], [6, 24]], "command": "train.py"}),
    texts({"step": 3, "rollbacks": 1}),
    texts({"path": "circles", "sha256": "a" * 64, "step": 3, "words": ["a", "b"]}),
)
def test_records_beside_a_run(folder, run, stop, initial):
    (folder / "config.json").write_bytes((OLD_RUN / "config.json").read_bytes())
    (folder / "run.json").write_bytes(run)
    (folder / "bad_steps.json").write_bytes(stop)
    (folder / "initial_weights.json").write_bytes(initial)
    with one_line():
        adapt_lengths(read_lengths(folder), TrainConfig(), 6)
    with one_line():
        assert NonFiniteStop.read(folder).rollbacks_after(0) >= 0
    with one_line():
        found = find_initial_weights(Config(run_dir=folder, init_from="circles"))
        assert isinstance(found, InitialWeights)


@quick
@given(texts(BEAT))
def test_heartbeats(text):
    line = format_rank(3, parse_status(text) | {"silent": 0.0})
    assert line.isprintable()


@quick
@given(st.lists(texts({"kind": "train", "step": 2, "clips_seen": 8, "seconds": 1.5}), max_size=3))
def test_metrics_logs(folder, lines):
    (folder / "metrics.jsonl").write_bytes(b"\n".join(lines))
    log = JsonlLogger(folder)
    assert isinstance(log.read_kinds(2), set)
    log.truncate_after(10)


@settings(quick, max_examples=60)
@given(
    texts({"train": {"num_steps": 100}}),
    texts({"device": "cpu", "world_size": 2, "precision": "float32"}),
    texts({"kind": "train", "step": 2, "clips_seen": 8, "seconds": 1, "clips_per_second": 40.0,
           "loss/discriminator": 0.5, "rank_skew": 1.5, "slowest_rank": 1}),
    texts({"kind": "evaluation", "step": 2, "clips_seen": 8, "seconds": 1, "accuracy": 0.5}),
    texts({"kind": "event", "step": 2, "clips_seen": 8, "seconds": 1, "message": "x",
           "warning": True}),
    texts(BEAT),
    st.sampled_from(["rank_00001.json", "rank_x.json", "rank_.json", "rank_-1.json",
                     "rank_\udc80.json", "rank_1\x1b[2J.json", "rank_٣.json", "rank_1_0.json"]),
)  # fmt: skip
def test_run_folders_that_are_watched(
    tmp_path_factory, config, run, train, rated, event, beat, name
):
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.json").write_bytes(config)
    (folder / "run.json").write_bytes(run)
    (folder / "metrics.jsonl").write_bytes(b"\n".join([train, train, rated, event, b""]))
    (folder / "heartbeats").mkdir()
    (folder / "heartbeats" / name).write_bytes(beat)
    console = Console(width=80, file=io.StringIO())
    console.print(draw(Follower(folder).read(), 80))
    assert all(line.isprintable() for line in console.file.getvalue().split("\n"))


@slow
@given(st.data())
def test_run_folders_that_are_reported(folder, data):
    run_dir = folder / "reported"
    if not run_dir.exists():
        make_run(run_dir)
        for name in ("metrics.jsonl", "run.json", "config.json"):
            (run_dir / name).rename(run_dir / f"{name}.original")
    lines = (run_dir / "metrics.jsonl.original").read_text().splitlines()
    strange = data.draw(st.lists(st.integers(0, len(lines) - 1), max_size=4))
    records = [texts(json.loads(lines[place])) for place in strange]
    kept = [line.encode() for line in lines]
    for place, record in zip(strange, records, strict=True):
        kept[place] = data.draw(record).replace(b"\n", b" ")
    (run_dir / "metrics.jsonl").write_bytes(b"\n".join(kept))
    for name in ("run.json", "config.json"):
        original = json.loads((run_dir / f"{name}.original").read_text())
        (run_dir / name).write_bytes(data.draw(texts(original)))
    with one_line():
        write_report(run_dir)


@settings(quick, max_examples=40)
@given(st.data())
def test_evaluations_of_others(folder, data):
    file = folder / "evaluation.json"
    if not (original := folder / "evaluation.original").exists():
        make_evaluation(file)
        file.rename(original)
    file.write_bytes(data.draw(texts(json.loads(original.read_text()))))
    with one_line():
        read_evaluation(file)


@quick
@given(st.lists(texts(FAILURE), max_size=3), texts(HEADER), st.lists(texts(BUILT), max_size=3))
def test_failures_and_journals(folder, failures, header, built):
    (folder / "failures.jsonl").write_bytes(b"\n".join(failures))
    (folder / ".build_journal.jsonl").write_bytes(b"\n".join([header, *built]))
    with one_line():
        read_failures(folder)
    with one_line():
        _, shards = read_journals(folder)
        assert all(shard.index == index for index, shard in shards.items())


@settings(quick, max_examples=30)
@given(
    damaged(b'video,prompt\na.mp4,"a cat, running"\nb.mp4,\xc3\xa9t\xc3\xa9\n'),
    st.lists(texts({"video": "a.mp4", "prompt": "a cat"}), max_size=3),
    damaged(b"a.mp4\ta cat\nb.mp4\ta dog\n"),
)
def test_lists(tmp_path_factory, rows, objects, lines):
    files = {"prompts.csv": rows, "prompts.jsonl": b"\n".join(objects), "prompts.txt": lines}
    for name, content in files.items():
        with one_line():
            list(tables.read_table(io.BytesIO(content), name.replace(".txt", ".tsv")))
        folder = tmp_path_factory.mktemp("videos")
        for video in ("a.mp4", "b.mp4"):
            (folder / video).touch()
        (folder / name).write_bytes(content.replace(b"video,", b"file,"))
        with one_line():
            find_prompts(folder, ["a cat"])


# --- weights -----------------------------------------------------------------------------------

WEIGHTS = (OLD_RUN / "weights.safetensors").read_bytes()
START = 8 + int.from_bytes(WEIGHTS[:8], "little")
WEIGHTS_HEADER = json.loads(WEIGHTS[8:START])


@quick
@given(documents(WEIGHTS_HEADER), damaged(WEIGHTS[:64]))
def test_headers_of_weights(folder, header, start):
    text = json.dumps(header).encode()
    for data in (len(text).to_bytes(8, "little") + text + WEIGHTS[START:], start + WEIGHTS[64:]):
        (folder / "w.safetensors").write_bytes(data)
        with one_line():
            load_weights(folder / "w.safetensors")


@settings(quick, max_examples=50)
@given(st.data())
def test_sealed_weights(folder, data):
    """The checksum is right; types, shapes, numbers and the description may not be."""
    tensors = read_tensors(OLD_RUN / "weights.safetensors")
    name = data.draw(st.sampled_from(sorted(tensors)))
    dtypes = [torch.int8, torch.bool, torch.float8_e4m3fn, torch.complex64, torch.float64]
    changes = {
        "as it is": lambda tensor: tensor,
        "type": lambda tensor: tensor.to(data.draw(st.sampled_from(dtypes))),
        "shape": lambda tensor: tensor.flatten()[:3],
        "empty": lambda tensor: tensor.flatten()[:0],
        "nan": lambda tensor: torch.full_like(tensor, float("nan")),
    }
    change = data.draw(st.sampled_from(sorted(changes)))
    tensors = {n: t.clone() for n, t in tensors.items()}
    tensors[name] = changes[change](tensors[name]).clone()
    info = json.loads(WEIGHTS_HEADER["__metadata__"]["info"])
    text = data.draw(st.one_of(st.just(json.dumps(info)), documents(info).map(json.dumps)))
    metadata = {"format": "t2vgan-weights", "format_version": "1", "info": text}
    metadata["sha256"] = compute_digest(tensors, text)
    write_tensors(folder / "sealed.safetensors", tensors, metadata)
    with one_line():
        TextToVideo.from_pretrained(folder / "sealed.safetensors")
        assert change == "as it is"
