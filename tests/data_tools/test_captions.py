"""Captions as they are: several, classes, none, held out; from the source to the training step."""

import io
import json
import re
import shutil
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

import pyarrow
import pytest
import torch
from pyarrow import parquet

from data_tools import pack_videos
from data_tools.build.destination import Destination
from data_tools.build.protocol import WHOLE
from data_tools.pack_videos import PackOptions, make_plan
from data_tools.repair_shards import repair_shards
from data_tools.verify_shards import Verifier
from data_tools.videos.input_list.classes import MAX_CLASSES, name_classes
from data_tools.videos.input_list.rows import Row
from data_tools.videos.input_list.sources import read_source
from data_tools.videos.input_list.tables import Columns
from data_tools.videos.prompts import choose_captions
from data_tools.videos.settings import ClipSettings, VideoError
from t2vgan.checkpoint.weights import save_weights
from t2vgan.config import ClipGanConfig, Config, DataConfig, TrainConfig
from t2vgan.data.captions import NO_CAPTION, parse_captions
from t2vgan.data.shards import load_manifest, parse_metadata, read_samples
from t2vgan.errors import UserError
from t2vgan.gan.batch import StepInputs
from t2vgan.tokenizer import EMPTY
from t2vgan.training.data import describe_captions
from t2vgan.training.trainer import Trainer
from tests.support.filming import counting, write_film
from tests.support.packing import FAST
from tests.support.source_videos import CLIPS
from tests.support.sources import FILM, read, write_tar
from tests.support.warm import run_warm_ok

SMALL = {"num_frames": 4, "fps": 5.0, "size": "32x32", "rows_per_shard": 2}
NAMES = "abcdefgh"


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    """Eight films, a.mp4 to h.mp4."""
    folder = tmp_path_factory.mktemp("films")
    film = write_film(folder / "a.mp4", counting(8), FAST)
    for name in NAMES[1:]:
        shutil.copy(film, folder / f"{name}.mp4")
    return folder


def copy_films(films: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for film in films.glob("*.mp4"):
        shutil.copy(film, folder)
    return folder


def write_lines(folder: Path, *records: dict) -> Path:
    lines = "".join(f"{json.dumps(record)}\n" for record in records)
    (folder / "metadata.jsonl").write_text(lines)
    return folder


def pack(source: Path, out: Path, *, workers: int = 1, **options: object) -> str:
    """Pack a source into a folder; return the account."""
    every = SMALL | {"max_bad_fraction": 0.5, "workers": workers} | options
    chosen = PackOptions(str(source), str(out), **every)
    plan = make_plan(chosen)
    with redirect_stdout(io.StringIO()) as account:
        assert pack_videos.pack(plan, chosen, WHOLE) == 0
    return account.getvalue()


def stored(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return source -> captions of a packed folder."""
    manifest = load_manifest(folder)
    samples = [s for entry in manifest.shards for s in read_samples(folder / entry.name)]
    counts = Counter(c for sample in samples for c in parse_captions(sample.members))
    assert counts == manifest.prompts
    assert not list(Verifier(Destination(folder), manifest).problems())
    return {parse_metadata(s)["source"]: parse_captions(s.members) for s in samples}


def labels_of(folder: Path) -> list[str | None]:
    entries = load_manifest(folder).shards
    samples = [s for entry in entries for s in read_samples(folder / entry.name)]
    return [parse_metadata(sample).get("label") for sample in samples]


def make_trainer(folder: Path, run_dir: Path, **data: object) -> Trainer:
    return Trainer(
        Config(
            run_dir=run_dir,
            data=DataConfig(path=str(folder), num_streams=2, shuffle_window=4, **data),
            model=ClipGanConfig(latent_size=8, text_size=8, hidden_size=16, channels=4),
            train=TrainConfig(global_batch_size=8, frames_per_clip=2, num_steps=2, augment=0.0),
        )
    )


def first_step(folder: Path, run_dir: Path, **data: object):
    """Return the trainer, the keys of the first batch, and its clips after a training step."""
    trainer = make_trainer(folder, run_dir, **data)
    with trainer.loader() as loader:
        batch = next(loader)
        (clips,) = trainer.preparer.load(batch).micro_batches()
        trainer.gan.train_step(StepInputs.of([clips]), batch.step)
    return trainer, batch.keys, clips


def name_of(key: str) -> str:
    """Return the film of a clip's key."""
    return NAMES[int(key.split("-")[0])]


def captions_of(trainer: Trainer) -> list[str]:
    return describe_captions(trainer.config, trainer.manifest, trainer.vocabulary.tokenizer)


def words_of(trainer: Trainer, token_ids) -> list[str]:
    words = ("", *trainer.vocabulary.words)
    return [" ".join(words[i] for i in row if i) for row in token_ids.tolist()]


# --- several captions -----------------------------------------------------------------------------


def texts(name: str) -> list[str]:
    return [f"film {name}", f"{name} is counting", f"numbers of {name}"]


def as_text_files(folder: Path) -> Path:
    for name in NAMES:
        (folder / f"{name}.txt").write_text("\n".join(texts(name)) + "\n\n")
    return folder


def as_json_lines(folder: Path) -> Path:
    rows = ({"path": f"{name}.mp4", "captions": texts(name)} for name in NAMES)
    return write_lines(folder, *rows)


def as_csv(folder: Path) -> Path:
    rows = [f'{name}.mp4,"{chr(10).join(texts(name))}"' for name in NAMES]
    (folder / "metadata.csv").write_text("\n".join(["path,captions", *rows]) + "\n")
    return folder


def as_parquet(folder: Path) -> Path:
    columns = {"path": [f"{n}.mp4" for n in NAMES], "captions": [texts(n) for n in NAMES]}
    parquet.write_table(pyarrow.table(columns), folder / "metadata.parquet")
    return folder


@pytest.mark.parametrize("layout", [as_text_files, as_json_lines, as_csv, as_parquet])
def test_several_captions_go_from_the_source_to_the_step(tmp_path, films, layout):
    source = layout(copy_films(films, tmp_path / "source"))
    account = pack(source, tmp_path / "out")
    assert "8 videos have several captions" in account
    assert stored(tmp_path / "out") == {f"{name}.mp4": tuple(texts(name)) for name in NAMES}
    trainer, keys, clips = first_step(tmp_path / "out", tmp_path / "run")
    for key, prompt in zip(keys, words_of(trainer, clips.token_ids), strict=True):
        assert prompt in texts(name_of(key))
    pack(source, tmp_path / "again", workers=2)
    first, second = (
        {file.name: file.read_bytes() for file in (tmp_path / name).glob("*.tar")}
        for name in ("out", "again")
    )
    assert first == second


def test_several_captions_of_a_tar(tmp_path, films):
    film = (films / "a.mp4").read_bytes()
    write_tar(
        tmp_path / "in" / "a.tar",
        [
            ("0.mp4", film), ("0.json", json.dumps({"captions": ["a b", "c\nd"]}).encode()),
            ("1.mp4", film), ("1.txt", b"e f\ng h"), ("1.json", b'{"label": 3, "captions": []}'),
            ("2.mp4", film), ("2.json", b'{"caption": "i\\nj", "cls": "dog"}'),
            ("3.mp4", film), ("3.cls", b"12\n"),
        ],
    )  # fmt: skip
    pack(tmp_path / "in", tmp_path / "out")
    assert list(stored(tmp_path / "out").values()) == [
        ("a b", "c d"),
        ("e f", "g h"),
        ("i j",),
        ("12",),
    ]
    assert labels_of(tmp_path / "out") == [None, "3", "dog", "12"]


def test_a_text_of_one_line_is_the_row_of_earlier_versions():
    assert Row("a.mp4").with_caption(b"a cat\n").identity == ("a.mp4", "a cat\n", "", 0, None, "")
    assert Row("a.mp4").with_caption(b"a cat\n\n a dog\n").captions == ("a cat", "a dog")


def test_captions_without_words_are_passed_over_where_others_have_some():
    settings = ClipSettings(**CLIPS)
    row = Row("a.mp4", "🐈", further=("a cat", "\x00\x07", "a cat ", "a\x00 dog"))
    assert choose_captions(row, settings) == ("a cat", "a dog")
    with pytest.raises(VideoError, match="no words"):
        choose_captions(Row("a.mp4", "🐈🐈", further=("\x01\x02",)), settings)


def test_long_captions_are_counted_and_cut(tmp_path, films):
    long = " ".join(f"w{i}" for i in range(10_000))
    rows = ({"path": f"{n}.mp4", "caption": long if n in "ab" else "a cat"} for n in NAMES)
    source = write_lines(copy_films(films, tmp_path / "source"), *rows)
    account = pack(source, tmp_path / "out")
    assert "2 videos have a caption of more than 64 words; the rest is cut" in account
    (cut,) = {prompt for prompt in load_manifest(tmp_path / "out").prompts if prompt != "a cat"}
    assert cut.split() == long.split()[:64]
    pack(source, tmp_path / "wide", max_prompt_words=100)
    (line,) = captions_of(make_trainer(tmp_path / "wide", tmp_path / "run"))
    assert line.startswith(
        "1 of 2 captions have more than 64 words, of which only the first are read"
    )


@pytest.mark.parametrize("caption", ["🐈🐈🎉", "\x00\x07\x1b\u202e", "… -- !"])
def test_a_caption_without_words_is_a_failed_row(tmp_path, films, caption):
    rows = ({"path": f"{n}.mp4", "caption": caption if n == "a" else "a cat"} for n in NAMES)
    source = write_lines(copy_films(films, tmp_path / "source"), *rows)
    account = pack(source, tmp_path / "out")
    assert "1 failed: prompt       e.g. row 0 (a.mp4): the caption has no words" in account
    assert load_manifest(tmp_path / "out").prompts == {"a cat": 7}


# --- classes --------------------------------------------------------------------------------------


def test_classes_are_prompts_where_there_is_no_caption(tmp_path, films):
    source = copy_films(films, tmp_path / "source")
    captions = {"a": "a black cat"}
    rows = (
        {"path": f"{n}.mp4", "label": i % 2, **({"caption": captions[n]} if n in captions else {})}
        for i, n in enumerate(NAMES)
    )
    write_lines(source, *rows)
    (source / "classes.txt").write_text("cat\nsitting dog\n")
    account = pack(source, tmp_path / "out")
    assert "7 videos have no caption; their class is used instead" in account
    assert "2 classes" in account
    names = ["cat", "sitting dog"] * 4
    assert labels_of(tmp_path / "out") == names
    assert list(stored(tmp_path / "out").values()) == [("a black cat",), *((n,) for n in names[1:])]
    trainer, keys, clips = first_step(tmp_path / "out", tmp_path / "run")
    prompts = dict(zip(NAMES, ["a black cat", *names[1:]], strict=True))
    assert words_of(trainer, clips.token_ids) == [prompts[name_of(key)] for key in keys]


def test_folders_are_classes_and_splits(tmp_path, films):
    folders = ["train/RidingHorse", "train/brush_hair", "val/RidingHorse", "Train/brush_hair"]
    source = tmp_path / "source"
    for i, name in enumerate(NAMES):
        folder = source / folders[i % 4]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(films / f"{name}.mp4", folder)
    with pytest.raises(UserError, match=r"Train/brush_hair/d.txt\); use --class-folders if"):
        read(source)
    (source / "train/RidingHorse/a.txt").write_text("a black horse")
    account = pack(source, tmp_path / "out", class_folders=True)
    assert "5 videos have no caption; their class is used instead" in account
    assert (
        labels_of(tmp_path / "out")
        == ["brush hair"] * 2 + ["Riding Horse"] * 2 + ["brush hair"] * 2
    )
    prompts = load_manifest(tmp_path / "out").prompts
    assert prompts == {"a black horse": 1, "Riding Horse": 1, "brush hair": 4}
    pack(source, tmp_path / "validation", class_folders=True, split="validation")
    assert load_manifest(tmp_path / "validation").prompts == {"Riding Horse": 2}


def test_a_video_in_no_class_folder_fails_and_a_table_has_none(tmp_path):
    (tmp_path / "0").mkdir()
    for path in ("a.mp4", "0/b.mp4"):
        (tmp_path / path).write_bytes(FILM)
    (tmp_path / "classes.txt").write_text("cat\n")
    columns = Columns(class_folders=True)
    rows = {row.path: row for row in read_source(str(tmp_path), columns).rows}
    assert rows["a.mp4"].problem == "no caption: it is in no class folder"
    assert (rows["0/b.mp4"].label, rows["0/b.mp4"].problem) == ("cat", "")
    write_lines(tmp_path, {"path": "a.mp4", "caption": "a cat"})
    with pytest.raises(UserError, match=r"--class-folders: source .* is metadata.jsonl, not video"):
        read_source(str(tmp_path), columns)


def test_classes_of_every_table_are_read(tmp_path, films):
    source = copy_films(films, tmp_path / "source")
    (source / "metadata.csv").write_text(
        "path,label\n" + "".join(f"{n}.mp4,{i % 3}\n" for i, n in enumerate(NAMES))
    )
    assert [row.label for row in read(source).rows] == list("01201201")
    (source / "metadata.csv").unlink()
    columns = {"path": [f"{n}.mp4" for n in NAMES], "label": [i % 3 for i in range(8)]}
    parquet.write_table(pyarrow.table(columns), source / "metadata.parquet")
    assert [row.label for row in read(source).rows] == list("01201201")


def test_a_class_that_is_not_listed_fails_its_row():
    rows = name_classes(
        [Row("a", label="1"), Row("b", label="2"), Row("c", label="cat")], ["cat", "dog"]
    )
    assert [row.label for row in rows] == ["dog", "2", "cat"]
    assert rows[1].problem == "class '2' is none of the 2 that are listed"


def test_a_label_of_another_type_fails_its_row(tmp_path):
    write_lines(tmp_path, {"path": "a.mp4", "caption": "a cat", "label": [3]}, {"path": "b.mp4"})
    assert read(tmp_path).rows[0].problem == (
        "metadata.jsonl line 1: 'label' is a JSON array, must be a string or an integer"
    )


def test_fifty_thousand_classes_are_refused_in_one_line(tmp_path):
    write_lines(tmp_path, *({"path": f"{i}.mp4", "label": i} for i in range(50_000)))
    message = (
        r"50,000 different classes \('0', '1', '10', \.\.\.\) are more than the limit of 25,000"
    )
    with pytest.raises(UserError, match=message):
        pack(tmp_path, tmp_path / "out")


# --- no captions ----------------------------------------------------------------------------------


def test_clips_without_captions_train_without_the_mismatched_term(tmp_path, films):
    account = pack(films, tmp_path / "out", captions="none")
    assert "captions are not read" in account
    assert load_manifest(tmp_path / "out").prompts == {NO_CAPTION: 8}
    assert set(stored(tmp_path / "out").values()) == {(NO_CAPTION,)}
    trainer, _, clips = first_step(tmp_path / "out", tmp_path / "run")
    assert trainer.vocabulary.words == (EMPTY,)
    assert trainer.gan.train.mismatched_weight == 0
    assert "loss/mismatched" not in trainer.gan.metrics.reduce()
    assert words_of(trainer, clips.token_ids) == [EMPTY] * 8
    assert clips.token_mask.all()
    weights = tmp_path / "weights.safetensors"
    save_weights(weights, trainer.gan.ema.model.state_dict(), trainer.weights_info)
    drawn = run_warm_ok("generate.py", "--weights", weights, "--out", tmp_path / "videos")
    assert drawn.stdout.strip().endswith("no-prompt-0.gif")
    (line,) = captions_of(trainer)
    assert line.startswith(
        "no clip has a caption: training is unconditional, without the mismatched"
    )


def test_captions_may_be_optional(tmp_path, films):
    source = copy_films(films, tmp_path / "source")
    for name in "abcde":
        (source / f"{name}.txt").write_text(f"film {name}")
    assert "3 failed: prompt" in pack(source, tmp_path / "no")
    account = pack(source, tmp_path / "out", captions="optional")
    assert "3 videos have no caption" in account
    assert load_manifest(tmp_path / "out").prompts[NO_CAPTION] == 3
    trainer, keys, clips = first_step(tmp_path / "out", tmp_path / "run")
    assert trainer.gan.train.mismatched_weight == 1
    seen = words_of(trainer, clips.token_ids)
    names = map(name_of, keys)
    assert seen == [f"film {name}" if name in "abcde" else EMPTY for name in names]
    mismatched = words_of(trainer, clips.mismatched_ids.squeeze(1))
    for own, other in zip(seen, mismatched, strict=True):
        assert other != EMPTY or own == EMPTY, "the empty prompt matches every clip"
        assert own != EMPTY or other == EMPTY
    (line,) = captions_of(trainer)
    assert line == "3 of 8 clips have no caption: they are shown with an empty prompt"


def test_caption_dropout_shows_clips_with_an_empty_prompt(tmp_path, films):
    pack(as_text_files(copy_films(films, tmp_path / "source")), tmp_path / "out")
    trainer, keys, clips = first_step(tmp_path / "out", tmp_path / "run", caption_dropout=0.5)
    seen = words_of(trainer, clips.token_ids)
    assert 0 < seen.count(EMPTY) < 8
    plain, same_keys, captioned = first_step(tmp_path / "out", tmp_path / "plain")
    assert (keys, EMPTY in plain.vocabulary.words) == (same_keys, False)
    assert torch.equal(clips.real_video, captioned.real_video)
    for key, some, every in zip(keys, seen, words_of(plain, captioned.token_ids), strict=True):
        assert every in texts(name_of(key))
        assert some in (every, EMPTY), "dropout changes no other draw"


# --- held-out prompts -----------------------------------------------------------------------------


def test_a_split_is_held_out(tmp_path, films):
    splits = ["train", "train", "Training", "train", "test", "val", "", "nonsense"]
    captions = ["a", "b", "c", "a b", "c a", "d", "c b", "d"]
    rows = (
        {"path": f"{n}.mp4", "caption": f"film {c}", "split": s}
        for n, c, s in zip(NAMES, captions, splits, strict=True)
    )
    source = write_lines(copy_films(films, tmp_path / "source"), *rows)
    account = pack(source, tmp_path / "out")
    assert "2 videos are held out for testing; 1 held-out prompts: 'film c a'" in account
    assert "1 captions are not listed: no other caption has their words" in account
    manifest = load_manifest(tmp_path / "out")
    assert manifest.held_out_prompts == ("film c a",)
    assert sorted(manifest.prompts) == ["film a", "film a b", "film b", "film c", "film c b"]
    assert (manifest.input.num_rows, manifest.input.failures) == (6, {"list": 1})
    pack(source, tmp_path / "test", split="test")
    other = load_manifest(tmp_path / "test")
    assert other.prompts == {"film c a": 1, "film c b": 1}
    assert other.held_out_prompts == ()


def test_prompts_are_held_out_by_name_and_by_file(tmp_path, films):
    colours, ways = ("red", "blue"), ("up", "down", "left", "right")
    both = [(colour, way) for colour in colours for way in ways]
    rows = (
        {
            "path": f"{n}.mp4",
            "captions": [f"a {colour} ball moves {way}", f"{way}: a {colour} ball"],
        }
        for n, (colour, way) in zip(NAMES, both, strict=True)
    )
    source = write_lines(copy_films(films, tmp_path / "source"), *rows)
    (tmp_path / "held_out.txt").write_text("Left, a BLUE ball!\n\n")
    options = {
        "hold_out": ("a red ball moves up",),
        "hold_out_file": str(tmp_path / "held_out.txt"),
    }
    pack(source, tmp_path / "out", **options)
    manifest = load_manifest(tmp_path / "out")
    assert manifest.held_out_prompts == (
        "a red ball moves up", "left: a blue ball", "up: a red ball", "a blue ball moves left",
    )  # fmt: skip
    trainer = make_trainer(tmp_path / "out", tmp_path / "run")
    assert trainer.evaluator.manifest.held_out_prompts == manifest.held_out_prompts
    assert manifest.num_samples == 6
    assert not set(manifest.prompts) & set(manifest.held_out_prompts)
    assert "already complete" in pack(source, tmp_path / "out", **options)
    shard = tmp_path / "out" / manifest.shards[0].name
    whole = shard.read_bytes()
    shard.unlink()
    assert repair_shards(tmp_path / "out", source=str(source), workers=1) == 0
    assert shard.read_bytes() == whole


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"hold_out": ("flim a",)},
            "--hold-out 'flim a': no caption matches it; nearest: 'film a'",
        ),
        ({"hold_out": ("x y", "z")}, "no caption matches it (nor 1 others)"),
        ({"split": "test"}, "--split test: the list has no column `split`, and no folder"),
        ({"hold_out": tuple(f"film {n}" for n in NAMES)}, "no row of split 'train' is left"),
        ({"label_column": "kind"}, "has no column kind (--label-column)"),
    ],
)
def test_a_choice_that_fits_nothing_is_refused_in_one_line(tmp_path, options, message):
    write_lines(tmp_path, *({"path": f"{n}.mp4", "caption": f"film {n}"} for n in NAMES))
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        pack(tmp_path, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)


def test_too_many_classes_are_counted_over_all_rows():
    rows = [Row(str(i), label=str(i)) for i in range(MAX_CLASSES + 1)]
    with pytest.raises(UserError, match="different classes"):
        name_classes(rows, [])
