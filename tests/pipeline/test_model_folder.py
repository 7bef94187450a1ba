import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from t2vgan.checkpoint.weights import MODEL_NAME, TextEncoderInfo, load_weights
from t2vgan.errors import UserError
from t2vgan.media import contact_sheet, load_clip
from t2vgan.models import build_generator
from t2vgan.pipeline import TextToVideo
from t2vgan.pipeline.model_folder import format_card
from t2vgan.tokenizer import Vocabulary
from t2vgan.utils.sequences import choose_evenly
from tests.support.pipelines import PROMPTS, TINY, VOCABULARY, describe, make_generator


def make_pipe(**changes):
    return TextToVideo(make_generator(), VOCABULARY, describe(**changes))


def write_record(path, **protocol):
    fields = {"version": "attributes-6", "weights_step": 3, "weights_clips_seen": 48}
    record = {
        "protocol": fields | {"num_clips": 2000, "seed": 7, "device": "cpu"} | protocol,
        "generated": {"accuracy": 0.9876, "accuracy_held_out": None, "one_object": 1.0},
        "relative_to_real": {"diversity": 1.054, "drift_area": 1.0},
        "notes": [],
    }
    path.write_text(json.dumps(record))
    return path


def test_a_saved_folder_is_loaded_elsewhere_with_the_same_clips(tmp_path):
    pipe = make_pipe()
    pipe.save_pretrained(tmp_path / "new" / "here")
    files = {"README.md", "config.json", MODEL_NAME, "sample.gif"}
    assert {path.name for path in (tmp_path / "new" / "here").iterdir()} == files
    there = shutil.move(tmp_path / "new" / "here", tmp_path / "there")
    for weights in (there, f"{there}/{MODEL_NAME}"):
        loaded = TextToVideo.from_pretrained(weights)
        np.testing.assert_array_equal(loaded(PROMPTS[:2]).videos, pipe(PROMPTS[:2]).videos)
        assert loaded.info == pipe.info


def test_the_same_weights_are_the_same_files_again(tmp_path):
    for name in ("a", "b"):
        make_pipe().save_pretrained(tmp_path / name)
        make_pipe().save_pretrained(tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_the_description_beside_the_weights_is_theirs(tmp_path):
    make_pipe().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config == load_weights(tmp_path)[1].model_dump(mode="json")
    assert config["words"] == list(VOCABULARY.words)


def test_the_film_shows_prompts_of_both_kinds(tmp_path):
    make_pipe(held_out_prompts=PROMPTS[3:]).save_pretrained(tmp_path)
    film = load_clip(tmp_path / "sample.gif")
    assert len(film) == 5
    assert min(film.shape[1:3]) > 128
    assert (film[0] != film[-1]).any()


def test_of_many_prompts_the_film_shows_three_of_either_kind(tmp_path):
    known, held_out = PROMPTS * 2, PROMPTS[1:] * 2
    pipe = make_pipe(prompts=known, held_out_prompts=held_out)
    pipe.save_pretrained(tmp_path)
    prompts = [*choose_evenly(known, 3), *choose_evenly(held_out, 3)]
    expected = contact_sheet(pipe(prompts).frames, prompts, columns=3, scale=8)
    assert load_clip(tmp_path / "sample.gif").shape == expected.shape


def test_an_empty_prompt_has_its_place_in_film_and_card(tmp_path):
    prompts = ["", *PROMPTS[:2]]
    vocabulary = Vocabulary.from_prompts(prompts)
    generator = build_generator(TINY, height=16, width=24, vocabulary_size=len(vocabulary))
    info = describe(words=vocabulary.words, prompts=prompts)
    TextToVideo(generator.eval(), vocabulary, info).save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert f'\n- none: `""`\n- `{PROMPTS[0]}`\n' in text
    assert 'pipe("", num_videos=4)' in text


def test_the_card_has_tags_and_the_numbers_of_the_evaluation(tmp_path):
    record = write_record(tmp_path / "evaluation.json")
    make_pipe().save_pretrained(tmp_path / "model", evaluation=record, license="apache-2.0")
    _, front, text = (tmp_path / "model" / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "t2vgan",
        "pipeline_tag": "text-to-video",
        "license": "apache-2.0",
        "tags": ["text-to-video", "gan", "t2vgan", "clip-gan"],
    }
    for part in (
        "![Generated clips of some of its prompts](sample.gif)",
        "| correct, training prompts | 98.8% |",
        "| correct, held-out prompts | - |",
        "| diversity, relative to real clips | 1.05 |",
        "on 2,000 clips, seed 7",
        "| training | 3 steps, 48 clips |",
        f"- `{PROMPTS[0]}`",
    ):
        assert part in text


def test_what_an_evaluation_could_not_measure_is_a_dash(tmp_path):
    record = write_record(tmp_path / "evaluation.json")
    fields = json.loads(record.read_text())
    for generated, relative in ((None, None), (fields["generated"], {"diversity": None})):
        change = {"generated": generated, "relative_to_real": relative}
        record.write_text(json.dumps(fields | change))
        make_pipe().save_pretrained(tmp_path / "model", evaluation=record)
        text = (tmp_path / "model" / "README.md").read_text()
        assert "| diversity, relative to real clips | - |" in text
        assert ("| frames with one object | - |" in text) == (generated is None)


def test_the_film_has_the_rate_of_the_data_and_the_example_its_first_prompt(tmp_path):
    make_pipe(fps=25, prompts=("circle größer", PROMPTS[0])).save_pretrained(tmp_path)
    with Image.open(tmp_path / "sample.gif") as film:
        assert film.info["duration"] == 40
    text = (tmp_path / "README.md").read_text()
    assert 'pipe("circle größer", num_videos=4)' in text


def test_the_card_names_the_encoder_of_the_words():
    encoder = TextEncoderInfo(name="mini|lm", sha256="ab12")
    line = "| words by | mini?lm, SHA-256 ab12 |"
    assert line in format_card(describe(text_encoder=encoder), None, None)
    assert "words by" not in format_card(describe(), None, None)


def test_a_card_without_evaluation_says_so(tmp_path):
    make_pipe().save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "Not evaluated." in text
    assert "license" not in text


def test_prompts_of_others_cannot_write_into_the_card(tmp_path):
    hostile = ("circle `</code><script>alert(1)</script>", "circle\n---\nlicense: mit\n# moving")
    make_pipe(prompts=hostile, t2vgan_version="0 | <b>").save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "<" not in text
    assert "\nlicense" not in text
    assert "circle ??/code??script?alert(1)" in text


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ({"weights_step": 4}, "weights of step 4 .* these are of step 3"),
        ({"weights_step": None}, "weights of step None"),
        ({"num_clips": "many"}, "num_clips"),
    ],
)
def test_evaluations_of_other_weights_or_none(tmp_path, protocol, message):
    record = write_record(tmp_path / "evaluation.json", **protocol)
    with pytest.raises(UserError, match=message):
        make_pipe().save_pretrained(tmp_path / "model", evaluation=record)
    record.write_text("{")
    with pytest.raises(UserError, match=r"evaluation\.json: not JSON.*t2vgan evaluate"):
        make_pipe().save_pretrained(tmp_path / "model", evaluation=record)
    assert not (tmp_path / "model").exists()


def test_folders_and_licences_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file; choose another model folder"):
        make_pipe().save_pretrained(tmp_path / "file")
    with pytest.raises(UserError, match="license='MIT: x': must be an identifier"):
        make_pipe().save_pretrained(tmp_path / "model", license="MIT: x")


def test_a_model_folder_of_another_program_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / MODEL_NAME)
    with pytest.raises(UserError, match="not written by t2vgan"):
        TextToVideo.from_pretrained(tmp_path)
    (tmp_path / MODEL_NAME).unlink()
    with pytest.raises(UserError, match="the folder holds neither"):
        TextToVideo.from_pretrained(tmp_path)
