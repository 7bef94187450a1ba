"""Who may know whom: the arrows between the rooms of this house, and one door per library."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
BASE = "t2vgan cli errors files schedules seeds"  # anyone may import these
NETWORKS = "config distributed ema losses micro_batch models"
LEAVES = """data_order digits distributed ema heartbeat losses manifest media meeting player
    remote run_lock runlog signals tar video webp"""
ARROWS = dict.fromkeys(f"{BASE} {LEAVES}".split(), "") | {
    "distributed": "meeting",
    "config": "remote",
    "strips": "manifest webp",
    "shards": "manifest media strips tar text",
    "shard_cache": "manifest",
    "data_set": "manifest remote shard_cache shards tar",
    "mixed_order": "data_order",
    "mixture": "config data_order data_set manifest mixed_order shard_cache text",
    "shard_reader": "data_order data_set shards",
    "stream": "data_order mixed_order mixture shard_reader shards",
    "presets": "config",
    "models": "config text video",
    "text": "config",
    "weights": "config",
    "checkpoint": "weights",
    "run_folder": "config",
    "micro_batch": "negatives stream text video",
    "notes": "distributed",
    "game": f"{NETWORKS} notes player",
    "samples": "data_set manifest media shards",
    "sampling": "config models text video weights",
    "saving": "checkpoint config game manifest run_folder runlog text weights",
    "bad_data": "config saving stream",
    "gauges": "distributed",
    "health": "game saving",
    "negatives": "text",
    "rank_check": "distributed",
    "agreement": "config distributed mixture rank_check tracking",
    "preflight": """agreement checkpoint config data_set distributed manifest mixture models
        run_folder text tracking""",
    "readings": "diary evaluation mixture samples sampling text",
    "tracking": "config runlog",
    "diary": "config distributed evaluation game health run_folder runlog saving tracking",
    "evaluation": """config data_set digits distributed media mixture run_folder sampling shards
        text video weights""",
    "report": "config distributed media sampling video",
    "watch": "runlog",
    "trainer": f"""{NETWORKS} agreement bad_data checkpoint diary game gauges health heartbeat
        mixed_order negatives rank_check readings run_folder run_lock saving signals stream
        text""",
    "dry_run": "config distributed run_folder runlog trainer",
    "train": "config dry_run preflight presets signals trainer",
    "generate": "checkpoint config media presets sampling text weights",
    "data_tools": "digits manifest media remote shards strips tar",
}
DOORS = {
    "accelerate": "distributed",
    "av": "data_tools media",
    "fsspec": "data_tools remote",
    "rich": "preflight watch",
    "safetensors": "weights",
    "sklearn": "digits",
    "tensorboard": "tracking",
    "wandb": "tracking",
    "webdataset": "data_tools shards stream",
}
WITHOUT_TORCH = f"""{BASE} config data_order data_set data_tools digits heartbeat manifest media
    mixed_order mixture presets remote report run_lock runlog shard_cache shard_reader shards
    signals stream strips tar text watch webp""".split()


def room_of(name: str) -> str:
    """Return the room of a module: t2vgan.media.clips is in media, data_tools.build.worker_pool in its own."""
    parts = name.split(".")
    return parts[1] if parts[0] == "t2vgan" and len(parts) > 1 else parts[0]


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted([*ROOT.glob("t2vgan/**/*.py"), *ROOT.glob("data_tools/**/*.py")]):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path
    yield from ((path.stem, path) for path in ROOT.glob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield the full names that a file imports anywhere, `from a import b` as a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_plan_names_every_room_and_no_other():
    assert set(ARROWS) == {room_of(name) for name, _ in modules()}


def test_every_import_follows_an_arrow():
    wrong = [
        f"{name} -> {imported}"
        for name, path in modules()
        for imported in imports(path)
        if room_of(imported) in ARROWS
        and room_of(imported)
        not in {room_of(name), *f"{BASE} {ARROWS.get(room_of(name), '')}".split()}
    ]
    assert not wrong


def test_each_library_has_one_door():
    wrong = [
        f"{name} -> {imported}"
        for name, path in modules()
        for imported in imports(path)
        if room_of(name) not in DOORS.get(imported.split(".")[0], room_of(name)).split()
    ]
    assert not wrong


def test_rooms_without_torch_do_not_load_it():
    names = [name for name, _ in modules() if room_of(name) in WITHOUT_TORCH]
    assert len(names) > len(WITHOUT_TORCH)
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    command = [sys.executable, "-c", script, *names]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
