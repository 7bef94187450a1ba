"""Clean captions so that they can be prompts."""

import unicodedata

from t2vgan.tokenizer import JOINERS, find_words

from .settings import VideoError

ZERO_WIDTH_SPACE = "\u200b"  # between words of Thai, Khmer and others
MAX_PROMPT_CHARACTERS = 2000


def clean_prompt(text: str, *, max_words: int) -> str:
    """Return a caption normalised (NFC), on one line, cut to length.

    Words are counted as the text encoder counts them. Control and invisible characters,
    right-to-left overrides too, are dropped, so that a prompt reads as it is stored. Raises
    VideoError when no word is left.
    """
    text = text[: 8 * MAX_PROMPT_CHARACTERS]
    spaced = (" " if c.isspace() or c == ZERO_WIDTH_SPACE else c for c in text)
    # Joiners shape words of many scripts, and emoji; other invisible characters only hide things.
    visible = (c for c in spaced if c in JOINERS or unicodedata.category(c)[0] != "C")
    text = unicodedata.normalize("NFC", " ".join("".join(visible).split()))[:MAX_PROMPT_CHARACTERS]
    words = list(find_words(text))
    if not words:
        raise VideoError("prompt", "the caption has no words")
    if len(words) > max_words:
        text = text[: words[max_words - 1].end()]
    return text.strip()
