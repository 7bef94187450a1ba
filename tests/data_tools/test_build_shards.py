"""A build gives the same bytes however it is made, and mends itself."""

import json
from collections import Counter

import pytest

from data_tools.build.destination import Destination
from data_tools.build.journal import JOURNAL_NAME, Journal, write_failures
from data_tools.build.protocol import BuiltShard, Failure, Task
from data_tools.build.resume import recover
from data_tools.build.scene_build import BuildPlan
from data_tools.build_shards import build
from t2vgan.data.shards import decode_sample, load_manifest, parse_captions, read_samples
from t2vgan.errors import UserError
from t2vgan.utils.files import NotPlainFileError
from tests.support.data_commands import PLAN, SMALL, files_in, run


@pytest.mark.parametrize("scene", ["circles", "notebook"])
def test_the_same_bytes_for_any_number_of_workers(tmp_path, scene):
    folders = []
    for workers in (1, 3):
        folders.append(tmp_path / f"{workers}")
        result = run("build_shards", scene, "--out", folders[-1], "--workers", workers, *SMALL)
        assert result.returncode == 0, result.stderr
    one, three = map(files_in, folders)
    assert one == three
    shards = {f"{scene}-{i:05d}.tar" for i in range(3)}
    assert one.keys() == shards | {"manifest.json"}, "no journal and no temporary file stays"


def test_the_manifest_says_what_was_built(data):
    manifest = load_manifest(data)
    assert manifest.num_samples == 50
    assert [entry.num_samples for entry in manifest.shards] == [20, 20, 10]
    assert manifest.geometry == PLAN.geometry
    assert manifest.held_out_prompts == ("circle moving up-right",)
    assert manifest.builder_config["size"] == "24x32"
    prompts: dict[str, int] = {}
    keys = []
    for entry in manifest.shards:
        for sample in read_samples(data / entry.name):
            frames, prompt = decode_sample(sample, manifest.geometry)
            assert frames.shape == (4, 24, 32, 3)
            prompts[prompt] = prompts.get(prompt, 0) + 1
            keys.append(sample.key)
            metadata = json.loads(sample.members["json"])
            assert {"num_frames", "height", "width", "fps", "source", "motion"} <= metadata.keys()
            assert metadata["motion"] == prompt.removeprefix("circle ")
    assert prompts == manifest.prompts
    assert keys == [f"{i:08d}" for i in range(50)]


def test_other_shard_sizes_hold_the_same_clips(tmp_path, data):
    other = BuildPlan("circles", 50, 50, PLAN.geometry, seed=0)
    build(other, tmp_path / "other", num_workers=1)
    (entry,) = load_manifest(tmp_path / "other").shards
    ours = [s for e in load_manifest(data).shards for s in read_samples(data / e.name)]
    assert list(read_samples(tmp_path / "other" / entry.name)) == ours


def test_a_complete_build_says_so_and_touches_nothing(data):
    before = {path: path.stat().st_mtime_ns for path in data.iterdir()}
    result = run("build_shards", "circles", "--out", data, *SMALL)
    assert result.returncode == 0
    assert "already complete: 50 clips" in result.stdout
    assert before == {path: path.stat().st_mtime_ns for path in data.iterdir()}


@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_the_same_command_mends_a_damaged_build(data, damage):
    before = files_in(data)
    shard = data / "circles-00001.tar"
    if damage == "missing":
        shard.unlink()
    else:
        content = bytearray(shard.read_bytes())
        content[900] ^= 4
        shard.write_bytes(content)
    assert run("build_shards", "circles", "--out", data, *SMALL).returncode == 0
    assert files_in(data) == before


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--seed", "1", "seed=0, not 1"),
        ("--num-clips", "60", "num_clips=50, not 60"),
        ("--clips-per-shard", "10", "clips_per_shard=20, not 10"),
        ("--num-frames", "5", "num_frames=4, not 5"),
        ("--size", "32x24", "size=24x32, not 32x24"),
        ("scene", "notebook", "builder=circles, not notebook"),
    ],
)
@pytest.mark.parametrize("state", ["complete", "interrupted"])
def test_other_arguments_into_the_same_folder_are_refused(data, option, value, message, state):
    if state == "interrupted":
        (data / "manifest.json").unlink()
        Journal(data, PLAN.header).close()
    before = files_in(data)
    arguments = ["circles", "--out", data, "--seed", "0", *SMALL]
    place = 0 if option == "scene" else arguments.index(option) + 1
    arguments[place] = value
    result = run("build_shards", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert files_in(data) == before


def test_shards_of_unknown_origin_are_not_overwritten(data):
    (data / "manifest.json").unlink()
    with pytest.raises(UserError, match="no manifest or journal records"):
        build(PLAN, data, num_workers=1)


def test_a_second_build_into_a_folder_is_refused(tmp_path):
    journal = Journal(tmp_path, PLAN.header)
    result = run("build_shards", "circles", "--out", tmp_path, *SMALL)
    assert result.returncode == 2
    assert "another build is writing" in result.stderr
    journal.close()
    assert run("build_shards", "circles", "--out", tmp_path, *SMALL).returncode == 0


def test_tasks_run_together_but_a_whole_build_excludes_others(tmp_path):
    whole, first, second = Task(), Task(0, 2), Task(1, 2)
    for held, others in ((first, [whole]), (whole, [first, second])):
        with Journal(tmp_path, PLAN.header, held):
            (tmp_path / ".tmp-half.tar").write_bytes(b"half")
            for task in others:
                with pytest.raises(UserError, match="another build is writing"):
                    Journal(tmp_path, PLAN.header, task)
            assert (tmp_path / ".tmp-half.tar").exists()
    with (
        Journal(tmp_path, PLAN.header, first),
        Journal(tmp_path, PLAN.header, second),
    ):
        pass


@pytest.mark.parametrize("name", [JOURNAL_NAME, ".build_journal-0-of-2.jsonl"])
def test_a_journal_that_is_a_link_is_refused(tmp_path, name):
    precious, folder = tmp_path / "precious", tmp_path / "data"
    precious.write_bytes(b"a line\nand a half")
    folder.mkdir()
    (folder / name).symlink_to(precious)
    with pytest.raises(NotPlainFileError, match=name):
        Journal(folder, PLAN.header)
    assert precious.read_bytes() == b"a line\nand a half"


@pytest.mark.parametrize("content", [b"a line\nand a half", b"half a line"])
def test_a_file_that_is_no_journal_is_not_changed(tmp_path, content):
    (tmp_path / JOURNAL_NAME).write_bytes(content)
    with pytest.raises(UserError, match="was written by another version of t2vgan; remove it"):
        Journal(tmp_path, PLAN.header)
    assert (tmp_path / JOURNAL_NAME).read_bytes() == content


def test_a_torn_header_is_written_again(tmp_path):
    Journal(tmp_path, PLAN.header).close()
    whole = (tmp_path / JOURNAL_NAME).read_bytes()
    (tmp_path / JOURNAL_NAME).write_bytes(whole[:-20])
    with Journal(tmp_path, PLAN.header) as journal:
        assert journal.built == {}
    assert (tmp_path / JOURNAL_NAME).read_bytes() == whole


def test_what_a_manifest_and_its_failures_lack_is_not_finished(data):
    manifest = load_manifest(data)
    first, _, last = manifest.shards
    manifest = manifest.model_copy(update={"shards": (first, last)})
    out = Destination(data)
    assert set(recover(PLAN, out, manifest)) == {0, 2}
    failure = Failure(row=39, source="a.mp4", reason="decode", message="damaged")
    empty = BuiltShard(index=1, entry=None, prompts={}, failures=(failure,))
    write_failures(data, [empty])
    built = recover(PLAN, out, manifest)
    assert built[1] == empty, "no row of it is left"
    assert (built[0].entry, built[2].entry) == (first, last)
    assert built[0].prompts == Counter(
        caption
        for sample in read_samples(data / first.name)
        for caption in parse_captions(sample.members)
    )


def test_a_shard_is_finished_by_its_checksum_not_by_its_name(data):
    """Torn last line, one intact shard, one damaged, one without a record."""
    expected = files_in(data)
    entries = load_manifest(data).shards
    (data / "manifest.json").unlink()
    with Journal(data, PLAN.header) as journal:
        for index in (0, 1):
            samples = read_samples(data / entries[index].name)
            prompts = Counter(c for sample in samples for c in parse_captions(sample.members))
            journal.record(BuiltShard(index=index, entry=entries[index], prompts=prompts))
    with (data / JOURNAL_NAME).open("ab") as file:
        file.write(b'{"name": "circles-00002.tar", "num_sam')
    (data / "circles-00001.tar").write_bytes(b"damaged")
    (data / ".tmp-left-by-a-kill.tar").write_bytes(b"half")
    kept = (data / "circles-00000.tar").stat().st_mtime_ns
    build(PLAN, data, num_workers=1)
    assert files_in(data) == expected
    assert (data / "circles-00000.tar").stat().st_mtime_ns == kept, "not rendered again"
