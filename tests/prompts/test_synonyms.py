import pytest

from t2vgan.prompts.synonyms import Synonyms, load_synonyms, read_phrases, stem

TABLE = """
# a comment
-: a, the
?: video
red: crimson, dark red
moving up: rising, climbing
up: upward
vertical: up, up and down
bouncing: hopping
bouncing vertical: up and down
circle: ball
rotating: =circling
turning left: =circling left
small: tiny, =wee | little
"""


def read(text, table=TABLE):
    return [" ".join(r.meanings) for r in read_phrases(Synonyms(table).split(text))]


@pytest.mark.parametrize(
    "words",
    [
        ("moves", "moved", "moving", "move"),
        ("spins", "spinning", "spin"),
        ("falls", "falling", "fall"),
        ("circles", "circle"),
        ("vertically", "vertical"),
        ("zigzags", "zigzagging"),
    ],
)
def test_forms_of_a_word_have_one_stem(words):
    assert len(set(map(stem, words))) == 1


@pytest.mark.parametrize("words", [("red", "reading"), ("string", "strange"), ("is", "it")])
def test_other_words_have_other_stems(words):
    assert len(set(map(stem, words))) == len(words)


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("the crimson ball", "red circl"),
        ("a dark red ball", "red circl"),  # the longest phrase
        ("Ball: rising!", "circl mov up"),
        ("ball climbs", "circl mov up"),
        ("circle circling", "circl rotat"),  # one stem, two words
        ("zebra", "zebra"),
    ],
)
def test_texts_are_read_in_the_usual_meaning_first(text, reading):
    assert read(text)[0] == reading


def test_a_phrase_may_have_several_meanings():
    assert read("ball hopping up and down") == [
        "circl bounc vertical",
        "circl bounc bounc vertical",
    ]
    assert read("upward") == ["up", "vertical"]  # what "up" may mean, "upward" may


def test_phrases_before_the_bar_are_for_captions_too():
    synonyms = Synonyms(TABLE)
    assert synonyms.in_captions == {("small",): ("tiny", "wee")}
    assert [read(text) for text in ("tiny", "wee", "little")] == [["small"]] * 3


def test_a_whole_word_may_begin_a_phrase():
    assert read("circling left")[0] == "turn left"
    assert read("circle left") == ["circl left"]


def test_filler_is_marked():
    (a, video, ball) = Synonyms(TABLE).split("a video ball")
    assert [p.says_something for p in (a, video, ball)] == [False, False, True]


def test_a_text_of_many_meanings_has_few_readings():
    assert 0 < len(read("up " * 64)) <= 64


def test_each_line_of_the_table_is_of_use():
    synonyms = load_synonyms()
    assert len(synonyms.meanings) > 500
    assert all(text == text.strip() and text for text in synonyms.words)
