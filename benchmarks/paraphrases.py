"""Score the shipped weights' clips for paraphrases of their prompts.

Run `python -m benchmarks.paraphrases`. For circles and shapes, clips of paraphrases and of the
known prompts are generated with the same seeds and scored by the meter. For actions, whose probe
needs a data set, the share of paraphrases that are read as the right action is counted. Four ways
to find the known prompt are compared: by the synonym table, with MiniLM for words that are not in
it, by the nearest sentence of MiniLM, and by shared words.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import benchmark
from benchmarks.record import print_table, write_record
from data_tools.games.actions import ACTIONS
from t2vgan import TextToVideo
from t2vgan.errors import UserError
from t2vgan.evaluation.prompt_accuracy.attributes import classify_objects, match_objects
from t2vgan.evaluation.prompt_accuracy.prompts import canonical_form, expected_objects
from t2vgan.evaluation.prompt_accuracy.select import select_tracker
from t2vgan.pipeline.sentence_encoder import is_installed
from t2vgan.pipeline.word_vectors import embed_texts
from t2vgan.prompts.matching import PromptMatcher
from t2vgan.utils.sequences import choose_evenly

MAX_EMBEDDED = 1088  # known prompts; for shapes, each composition in one of its templates
FOLDER = Path(__file__).parent
Paraphrase = tuple[str, str]
"""A known prompt, and a paraphrase of it."""


def run(paraphrases: Path = FOLDER / "paraphrases.txt", num_videos: int = 4) -> int:
    """Score paraphrases by the way they are read; print and record results.

    Args:
        paraphrases: Text file with lines of the form scene: known prompt: paraphrase.
        num_videos: Clips per prompt.
    """
    scenes = read_paraphrases(paraphrases)
    results = {scene: score_scene(scene, pairs, num_videos) for scene, pairs in scenes.items()}
    columns = list(results["circles"])
    rows = [[scene, *(row.get(name, "-") for name in columns)] for scene, row in results.items()]
    print_table(["scene", *columns], rows)
    record = {"paraphrases": paraphrases.name, "num_videos": num_videos, "scenes": results}
    print(f"wrote {write_record(paraphrases.stem, record)}")
    return 0


def read_paraphrases(path: Path) -> dict[str, list[Paraphrase]]:
    """Read a list: scene -> its paraphrases."""
    scenes: dict[str, list[Paraphrase]] = {}
    for line in path.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            scene, known, paraphrase = (part.strip() for part in line.split(":", 2))
            scenes.setdefault(scene, []).append((known, paraphrase))
    return scenes


def score_scene(scene: str, pairs: list[Paraphrase], num_videos: int) -> dict[str, Any]:
    """Score the paraphrases of one scene for each way to read them."""
    pipe = TextToVideo.from_pretrained(scene)
    info = pipe.info
    known = info.prompts, info.held_out_prompts
    table = PromptMatcher(pipe.vocabulary, *known)
    result: dict[str, Any] = {"paraphrases": len(pairs)}
    ways: dict[str, Callable[[str], str]] = {
        "shared words": lambda text: find_shared(text, info.prompts),
        "table": lambda text: table.match(text).read_as,
    }
    if is_installed():
        both = PromptMatcher(pipe.vocabulary, *known, embed_texts)
        some = choose_evenly(info.prompts, MAX_EMBEDDED)
        vectors = embed_texts(some)
        ways["nearest sentence"] = lambda text: some[
            int((vectors @ embed_texts([text])[0]).argmax())
        ]
        ways["table and MiniLM"] = lambda text: both.match(text).read_as
    read = {name: [read_or_none(way, text) for _, text in pairs] for name, way in ways.items()}
    for name, prompts in read.items():
        right = [
            meaning(scene, prompt) == meaning(scene, wanted)
            for (wanted, _), prompt in zip(pairs, prompts, strict=True)
        ]
        result[f"read rightly, {name}"] = round(float(np.mean(right)), 3)
    if scene != "actions":
        wanted = [prompt for prompt, _ in pairs]
        best = read.get("table and MiniLM", read["table"])
        known_accuracy = draw_and_score(pipe, wanted, wanted, num_videos)
        accuracy = draw_and_score(pipe, best, wanted, num_videos)
        result["accuracy, known prompts"] = round(known_accuracy, 3)
        result["accuracy, paraphrases"] = round(accuracy, 3)
        result["paraphrases over known"] = round(accuracy / known_accuracy, 3)
    return result


def read_or_none(way: Callable[[str], str], text: str) -> str | None:
    """Return how a text is read, or None if it is refused."""
    try:
        return way(text)
    except UserError:
        return None


def find_shared(text: str, prompts: tuple[str, ...]) -> str:
    """Return the prompt with the largest share of common words."""
    words = set(text.lower().split())
    return max(prompts, key=lambda p: len(words & set(p.split())) / len(words | set(p.split())))


def meaning(scene: str, prompt: str | None) -> Any:
    """Return the meaning of a prompt, or None."""
    if prompt is None:
        return None
    if scene != "actions":
        expected = expected_objects(prompt)
        return expected and canonical_form(expected)
    phrases = {phrase: name for name, action in ACTIONS.items() for phrase in action.phrases}
    found = [phrase for phrase in phrases if prompt.startswith(phrase)]
    return phrases[max(found, key=len)] if found else None


def draw_and_score(
    pipe: TextToVideo, drawn: Sequence[str | None], wanted: Sequence[str], num_videos: int
) -> float:
    """Return the share of clips that show the wanted prompts."""
    pairs = [
        (prompt, asked, seed)
        for prompt, asked in zip(drawn, wanted, strict=True)
        if prompt is not None
        for seed in range(num_videos)
    ]
    prompts, asked, seeds = (list(part) for part in zip(*pairs, strict=True))
    frames = pipe.generate(prompts, seeds, allow_unknown=True)
    objects = classify_objects(select_tracker(asked)(frames))
    hits = 0
    for prompt, found in zip(asked, objects, strict=True):
        expected = expected_objects(prompt) or ()
        seen = match_objects(expected, found)
        hits += all(
            one.get(name) == value
            for attributes, one in zip(expected, seen, strict=True)
            for name, value in attributes.items()
        )
    return hits / (len(wanted) * num_videos)


if __name__ == "__main__":
    benchmark(run)
