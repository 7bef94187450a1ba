"""Clean captions so that they can be prompts."""

import re
import unicodedata

from .settings import VideoError

# Joiners shape words of many scripts, and emoji; other invisible characters only hide things.
KEPT_INVISIBLE = "\u200c\u200d"
MAX_PROMPT_CHARACTERS = 2000


def clean_prompt(text: str, *, max_words: int) -> str:
    """Return a caption normalised (NFC), on one line, cut to length.

    Words are counted as the text encoder counts them. Control and invisible characters,
    right-to-left overrides too, are dropped, so that a prompt reads as it is stored. Raises
    VideoError when no word is left.
    """
    text = unicodedata.normalize("NFC", text[: 8 * MAX_PROMPT_CHARACTERS])
    spaced = (" " if character.isspace() else character for character in text)
    visible = (c for c in spaced if c in KEPT_INVISIBLE or unicodedata.category(c)[0] != "C")
    text = " ".join("".join(visible).split())[:MAX_PROMPT_CHARACTERS]
    words = list(re.finditer(r"\w+", text))
    if not words:
        raise VideoError("prompt", "the caption has no words")
    if len(words) > max_words:
        text = text[: words[max_words - 1].end()]
    return text.strip()
