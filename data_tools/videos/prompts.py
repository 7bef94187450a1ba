"""Clean captions for use as prompts, and describe them."""

import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress

from t2vgan.tokenizer import JOINERS, find_words
from t2vgan.utils.untrusted import MAX_CAPTION_BYTES

from .input_list.rows import Row
from .settings import ClipSettings, VideoError

ZERO_WIDTH_SPACE = "\u200b"  # separates words in Thai, Khmer and other scripts
MAX_PROMPT_CHARACTERS = 2000


def choose_captions(row: Row, settings: ClipSettings) -> tuple[str, ...]:
    """Return a row's cleaned captions, or else its class.

    Captions without words are skipped. The result may be empty if `settings` allow it.

    Raises:
        VideoError: the row has neither, but a caption is required.
    """
    if settings.captions == "none":
        return ()
    for texts in (row.captions, (row.label,) if row.label else ()):
        if found := tuple(dict.fromkeys(_clean_each(texts, settings.max_prompt_words))):
            return found
    if settings.captions == "required":
        raise VideoError("prompt", row.problem or "the caption has no words")
    return ()


def _clean_each(texts: Iterable[str], max_words: int) -> Iterator[str]:
    num_bytes = 0
    for text in texts:
        with suppress(VideoError):
            cleaned = clean_prompt(text, max_words=max_words)
            num_bytes += len(cleaned.encode()) + 1
            if num_bytes > MAX_CAPTION_BYTES:
                return
            yield cleaned


def describe_captions(rows: Iterable[Row], settings: ClipSettings) -> list[str]:
    """Count rows with several, long or no captions, and classes."""
    limit = settings.max_prompt_words
    num_several = num_empty = num_long = num_labelled = 0
    labels = set()
    for row in rows:
        labels.add(row.label)
        if settings.captions == "none":
            continue
        num_several += bool(row.further)
        num_empty += not row.captions and not row.label
        num_labelled += not row.captions and bool(row.label)
        num_long += any(_is_longer(caption, limit) for caption in row.captions)
    labels.discard("")
    found = [
        (num_several, "have several captions; each training step draws one"),
        (num_long, f"have a caption of more than {limit} words; the rest is cut"),
        (num_labelled, "have no caption; their class is used instead"),
        (num_empty if settings.captions == "optional" else 0, "have no caption"),
    ]
    lines = [f"{number:9d} videos {what}" for number, what in found if number]
    if settings.captions == "none":
        lines.append("captions are not read: the data set is for training without prompts")
    return lines + ([f"{len(labels):9d} classes"] if labels else [])


def _is_longer(caption: str, max_words: int) -> bool:
    """Return whether a caption has more than `max_words` words."""
    if len(caption) < 2 * max_words:
        return False
    return len(caption) > MAX_PROMPT_CHARACTERS or sum(1 for _ in find_words(caption)) > max_words


def clean_prompt(text: str, *, max_words: int) -> str:
    """Return a caption normalised (NFC), on one line, cut to length.

    Words are counted as the text encoder counts them. Control and invisible characters, including
    right-to-left overrides, are removed, so that a prompt looks like its stored text. Raises
    VideoError if no word is left.
    """
    text = text[: 8 * MAX_PROMPT_CHARACTERS]
    spaced = (" " if c.isspace() or c == ZERO_WIDTH_SPACE else c for c in text)
    # Joiners shape words of many scripts, and emoji; other invisible characters only hide text.
    visible = (c for c in spaced if c in JOINERS or unicodedata.category(c)[0] != "C")
    text = unicodedata.normalize("NFC", " ".join("".join(visible).split()))[:MAX_PROMPT_CHARACTERS]
    words = list(find_words(text))
    if not words:
        raise VideoError("prompt", "the caption has no words")
    if len(words) > max_words:
        text = text[: words[max_words - 1].end()]
    return text.strip()
