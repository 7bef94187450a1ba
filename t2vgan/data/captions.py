"""Captions of a clip: read them, and choose one for a step.

A clip has any number of captions, or none. `{key}.txt` holds one per line; if it is empty, the
clip has no caption. Tars from other sources may have captions in `{key}.json` instead (`captions`,
`caption`), or only a class (`label` or `cls` there, or `{key}.cls`), which is then the prompt.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from t2vgan.tokenizer import has_words
from t2vgan.utils.seeds import random_generator
from t2vgan.utils.untrusted import MAX_CAPTION_BYTES, JsonError, parse_json

NO_CAPTION = ""
"""The prompt of a clip without caption."""
LABEL_FIELDS = ("label", "cls")


def parse_captions(members: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return a sample's distinct captions; only NO_CAPTION for an empty `.txt`.

    Raises:
        ValueError: no member holds a caption, or it is too long, without words or not UTF-8.
    """
    if members.get("txt") == b"":
        return (NO_CAPTION,)
    lines = _decode(members["txt"]).split("\n") if "txt" in members else _find_captions(members)
    captions = tuple(dict.fromkeys(line.strip() for line in lines if has_words(line)))
    if not captions:
        raise ValueError("prompt has no words")
    return captions


def join_captions(captions: Sequence[str]) -> bytes:
    """Return the content of a `.txt` member; empty without captions.

    Raises:
        ValueError: a caption has no words or several lines, or all together are too long.
    """
    for caption in captions:
        if not has_words(caption) or "\n" in caption:
            kind = "is not one line" if has_words(caption) else "has no words"
            raise ValueError(f"the prompt {caption[:60]!r} {kind}")
    text = "\n".join(captions).encode()
    if len(text) > MAX_CAPTION_BYTES:
        raise ValueError(
            f"prompts have {len(text)} bytes, more than the limit of {MAX_CAPTION_BYTES}"
        )
    return text


def read_fields(record: Mapping[str, Any]) -> list[str]:
    """Return the captions of a JSON record, or its class.

    Captions are the list `captions`, or else the string `caption`.

    Raises:
        ValueError: a field has another type.
    """
    captions = record.get("captions")
    if captions is not None:
        if isinstance(captions, list) and all(isinstance(caption, str) for caption in captions):
            return [join_words(caption) for caption in captions]
        raise ValueError("`captions` must be a list of strings")
    caption = record.get("caption")
    if caption is not None:
        if isinstance(caption, str):
            return [join_words(caption)]
        raise ValueError("`caption` must be a string")
    label = read_label(record)
    return [] if label is None else [label]


def read_label(record: Mapping[str, Any]) -> str | None:
    """Return the class of a JSON record as text; None without one.

    Raises:
        ValueError: the class is neither a string nor an integer.
    """
    for name in LABEL_FIELDS:
        if (label := record.get(name)) is None:
            continue
        if isinstance(label, str) or type(label) is int:
            return join_words(str(label))
        raise ValueError(f"`{name}` must be a string or an integer")
    return None


def join_words(text: str) -> str:
    """Return a text as one line, with single spaces between words."""
    return " ".join(text.split())


def draw_captions(
    captions: Sequence[Sequence[str]],
    positions: np.ndarray,
    *,
    seed: int,
    step: int,
    num_clips: int,
    dropout: float = 0.0,
) -> list[str]:
    """Draw one of each clip's captions.

    A share `dropout` of the clips gets NO_CAPTION instead. `positions` (B,) are the clips' indices
    in the global batch of `num_clips`. Draws are made for the whole batch, so they do not depend on
    the number of ranks.
    """
    draws = random_generator(seed, "captions", step).random((num_clips, 2))[positions]
    return [
        NO_CAPTION if dropped < dropout else own[int(place * len(own))]
        for own, (dropped, place) in zip(captions, draws.tolist(), strict=True)
    ]


def _find_captions(members: Mapping[str, bytes]) -> list[str]:
    """Return the captions of a sample without a `.txt`."""
    found: list[str] = []
    if "json" in members:
        try:
            record = parse_json(members["json"])
        except JsonError:
            record = None
        if isinstance(record, dict):
            found = read_fields(record)
    if not found and "cls" in members:
        found = [join_words(_decode(members["cls"]))]
    if not found:
        raise ValueError("no prompt (a .txt member, or `caption` in .json)")
    return found


def _decode(text: bytes) -> str:
    if len(text) > MAX_CAPTION_BYTES:
        raise ValueError(
            f"prompt has {len(text)} bytes, more than the limit of {MAX_CAPTION_BYTES}"
        )
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise ValueError("prompt is not UTF-8") from None
