"""Write the goldens anew: `python -m tests.golden.record [NAME ...]`.

Names are training, curve, shards, videos and operations; without any, all five are written. They
say what the project computed on the day they were made, so a commit that changes one must say in
its message what changed and why. A sixth, `format_1`, writes the data set and the interrupted run
in today's formats; it was used once, and again would defeat its purpose: later versions must read
what an earlier one wrote.
"""

import json
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from tests.golden.commands import (
    CASES,
    DATA_FORMAT_1,
    HERE,
    INTERRUPTED_AT,
    ROOT,
    RUN_FORMAT_1,
    SCENES,
    VIDEOS,
    build,
    build_scene,
    data_of,
    generate,
    python,
    train_and_kill,
    train_curve,
    training,
)
from tests.golden.outcomes import (
    Json,
    curve,
    file_hashes,
    gif_delays,
    gif_frames,
    made_with,
    outcome,
    sha256_of_array,
    shard_content,
    write_json,
)
from tests.support.preset_steps import count_operations

STORED_VIDEOS = HERE / "videos"
OF_A_RUN = ("config.json", "run.json", "metrics.jsonl", "weights.safetensors", "checkpoints")


def describe_machine() -> Json:
    """Return what made, or would make, goldens here."""
    return made_with() | {"arithmetic": python("-m", "tests.golden.arithmetic").strip()}


def golden_file(name: str) -> Path:
    return HERE / f"{name}.json"


def load_golden(name: str) -> Json:
    return json.loads(golden_file(name).read_text())


def record_training(made: Json, folder: Path) -> None:
    """Run every case and write what it made."""
    for case in CASES:
        run_dir = folder / case
        python(*training(case, data_of(case, folder / f"{case}-data"), run_dir))
        golden = {"made_with": made, "outcome": outcome(run_dir)}
        write_json(golden_file(f"training-{case}"), golden)
    run_dir = shutil.copytree(RUN_FORMAT_1, folder / "format_1")
    python(*training("micro-batches", DATA_FORMAT_1, run_dir))  # goes on in its own units
    golden = {"made_with": made, "outcome": outcome(run_dir)}
    write_json(golden_file("training-format_1"), golden)


def record_curve(made: Json, folder: Path) -> None:
    """Train 300 steps and write their losses."""
    train_curve(folder / "curve")
    golden = {"made_with": made, "curve": curve(folder / "curve")}
    write_json(golden_file("curve"), golden)


def record_shards(made: Json, folder: Path) -> None:
    """Build every scene and write what its data set shows and its files' checksums."""
    contents, files = {}, {}
    for scene in SCENES:
        built = build_scene(scene, folder / scene)
        contents[scene], files[scene] = shard_content(built), file_hashes(built)
    golden = {"made_with": made, "contents": contents, "files": files}
    write_json(golden_file("shards"), golden)


def describe_videos(paths: list[Path]) -> Json:
    """Return the checksum of each video's frames, and its delays."""
    return {path.name: [sha256_of_array(gif_frames(path)), gif_delays(path)] for path in paths}


def record_videos(made: Json, folder: Path) -> None:
    """Draw every video, and store it with checksums."""
    frames, files = {}, {}
    shutil.rmtree(STORED_VIDEOS, ignore_errors=True)
    for name in VIDEOS:
        paths = generate(name, folder / name)
        frames[name], files[name] = describe_videos(paths), file_hashes(folder / name)
        shutil.copytree(folder / name, STORED_VIDEOS / name)
    write_json(golden_file("videos"), {"made_with": made, "frames": frames, "files": files})


def record_operations(made: Json, folder: Path) -> None:
    """Count the operations of each preset's steps."""
    write_json(golden_file("operations"), {"made_with": made, "presets": count_operations()})


def record_format_1(folder: Path) -> None:
    """Store a data set, and a run on it that was killed, without this machine's paths and names."""
    shutil.rmtree(DATA_FORMAT_1, ignore_errors=True)
    build("circles", DATA_FORMAT_1, size="32x48", num_clips=32)
    train_and_kill("micro-batches", DATA_FORMAT_1, folder / "run")
    shutil.rmtree(RUN_FORMAT_1, ignore_errors=True)
    RUN_FORMAT_1.mkdir()
    for name in OF_A_RUN:
        source = folder / "run" / name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, RUN_FORMAT_1 / name, **({"ignore": only_whole} if source.is_dir() else {}))
    system = f"{platform.system()}-{platform.machine()}"
    places = {sys.executable: "python", f"{ROOT}/": "", f"{folder}/": "runs/"}
    places[platform.platform()] = system
    for name in ("config.json", "run.json", "metrics.jsonl"):
        text = (RUN_FORMAT_1 / name).read_text()
        for here, anywhere in places.items():
            text = text.replace(here, anywhere)
        (RUN_FORMAT_1 / name).write_text(text)


def only_whole(folder: str, names: list[str]) -> list[str]:
    """Return which names of a killed run's checkpoints are not of the one that is kept."""
    is_top = Path(folder).name == "checkpoints"
    return [name for name in names if is_top and name != f"step_{INTERRUPTED_AT:08d}"]


def main() -> None:
    wanted = sys.argv[1:] or ["training", "curve", "shards", "videos", "operations"]
    records = {
        "training": record_training,
        "curve": record_curve,
        "shards": record_shards,
        "videos": record_videos,
        "operations": record_operations,
    }
    if unknown := set(wanted) - {*records, "format_1"}:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}\n\n{__doc__}")
    with tempfile.TemporaryDirectory() as name:
        if "format_1" in wanted:
            record_format_1(Path(name))
        made = describe_machine()
        for what, record in records.items():
            if what in wanted:
                record(made, Path(name) / what)
                print(f"{what}: written")


if __name__ == "__main__":
    main()
