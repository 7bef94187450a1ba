"""Phrasings of the scenes' prompts: meters read them, and builds without them are as before."""

import hashlib
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools.build.destination import Destination
from data_tools.build.scene_build import BuildPlan
from data_tools.build_shards import BuildOptions, build, make_plan
from data_tools.scenes import circles, notebook, shapes, shapes_two
from data_tools.verify_shards import Verifier
from t2vgan.data.captions import parse_captions
from t2vgan.data.shards import Geometry, load_manifest, parse_metadata, read_samples
from t2vgan.errors import UserError
from t2vgan.evaluation.prompt_accuracy.prompts import canonical_form, expected_objects
from t2vgan.gan.mismatched_prompts import HardPrompts
from t2vgan.prompts.paraphrases import SYNONYMS, VALUE_OF, normalize, say_the_same, write_paraphrase
from t2vgan.prompts.synonyms import load_synonyms, read_phrases

TINY = Geometry(num_frames=3, height=16, width=16)
draws = st.lists(st.floats(0, 1, exclude_max=True), min_size=6, max_size=6)


def test_the_scenes_own_prompts_stay_as_they_are():
    scenes = (circles, notebook, shapes, shapes_two)
    prompts = [p for scene in scenes for p in (*scene.PROMPTS, *scene.HELD_OUT_PROMPTS)]
    assert [normalize(prompt) for prompt in prompts] == [prompt.lower() for prompt in prompts]
    known = Counter(phrase for values in SYNONYMS.values() for p in values.values() for phrase in p)
    assert max(known.values()) == 1
    assert not set(VALUE_OF) & set(VALUE_OF.values())


def test_the_words_of_captions_are_those_of_built_data():
    assert SYNONYMS["shape"]["circle"] == ("disc", "ball", "dot")
    assert SYNONYMS["motion"]["moving up"][2:4] == ("moving to the top", "going up")
    digest = hashlib.sha256(json.dumps(SYNONYMS).encode()).hexdigest()
    # Another value changes the shards that --paraphrases builds.
    assert digest == "30c77f6d10188b7ae2105301c712255fcbecd4895c92df6d299719d59464b524"


@pytest.mark.parametrize("attribute", SYNONYMS)
def test_prompts_are_read_by_the_meanings_of_captions(attribute):
    table = load_synonyms()

    def read(text):
        return set(read_phrases(table.split(text))[0].meanings)

    for value, phrases in SYNONYMS[attribute].items():
        for phrase in phrases:
            assert read(phrase) == read(value), phrase


@given(composition=st.sampled_from(shapes.TRAINING + shapes.HELD_OUT), numbers=draws)
@settings(max_examples=300, deadline=None)
def test_the_meter_reads_every_phrasing(composition, numbers):
    prompt = shapes.write(composition, shapes.TEMPLATES[0])
    text = write_paraphrase(dict(zip(shapes.ATTRIBUTES, composition, strict=True)), numbers)
    assert expected_objects(text) == expected_objects(prompt)
    assert say_the_same(text, prompt) == (text.split(":")[0] == text)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("a tiny crimson star getting bigger", "a small red star expanding"),
        ("The Huge Jet-Black Box is sinking", "the large black square is moving down"),
        ("a ball going up", "circle moving up"),
        ("ball going up and down", "circle bouncing vertically"),
        ("a dot gliding to the lower right", "circle moving down-right"),
        ("growing smaller: an azure rhombus", "a blue diamond shrinking"),
        ("a pink ball falling and a golden box rising",
         "a magenta circle moving down and a yellow square moving up"),
    ],
)  # fmt: skip
def test_words_that_people_type_are_read(text, prompt):
    assert canonical_form(expected_objects(text)) == canonical_form(expected_objects(prompt))


@pytest.mark.parametrize("text", ["a cat growing", "a film of a ball", "turning left", "a big dog"])
def test_other_sentences_stay_unknown(text):
    assert expected_objects(text) is None


def test_a_phrasing_of_the_same_is_no_mismatched_prompt():
    prompts = ["a tiny star moving up", "a small star moving up", "a small box moving up"]
    hard = HardPrompts(dict.fromkeys(prompts, 1.0), 1.0)
    seen = {hard._exchange(prompts[1], place, 0.5, 0.0) for place in (0.0, 0.99)}
    assert seen == {prompts[1], prompts[2]}


def captions_in(folder, plan, **options):
    build(plan, folder, num_workers=1, **options)
    manifest = load_manifest(folder)
    samples = [s for entry in manifest.shards for s in read_samples(folder / entry.name)]
    counts = Counter(c for sample in samples for c in parse_captions(sample.members))
    assert counts == manifest.prompts
    assert not list(Verifier(Destination(folder), manifest).problems())
    return manifest, samples


@pytest.mark.parametrize("scene", ["circles", "shapes"])
def test_a_build_with_paraphrases_differs_in_captions_only(tmp_path, scene):
    _, plain = captions_in(tmp_path / "plain", BuildPlan(scene, 12, 6, TINY, 3))
    manifest, samples = captions_in(tmp_path / "more", BuildPlan(scene, 12, 6, TINY, 3, 4))
    for before, sample in zip(plain, samples, strict=True):
        assert before.members["webp"] == sample.members["webp"]
        first, *others = parse_captions(sample.members)
        assert [first] == list(parse_captions(before.members))
        assert others
        meaning = canonical_form(expected_objects(first))
        for caption in (*others, parse_metadata(sample)["label"]):
            assert canonical_form(expected_objects(caption)) == meaning
        assert "label" not in parse_metadata(before)
    assert manifest.builder_config["paraphrases"] == 4


def test_a_scene_without_other_words_is_refused():
    options = BuildOptions("shapes-two", "out", paraphrases=3)
    with pytest.raises(
        UserError, match="shapes-two has no paraphrases; only circles, notebook, shapes"
    ):
        make_plan(options)
