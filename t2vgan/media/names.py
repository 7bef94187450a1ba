"""Make file names from prompts."""

import hashlib
import re

MAX_SLUG_LENGTH = 64


def slug(prompt: str) -> str:
    """Return a prompt as a file name.

    It consists of 1 to 64 lowercase ASCII letters, digits and single hyphens. If letters are lost
    because of other alphabets or the length, a digest of the prompt keeps names distinct. The empty
    prompt becomes "no-prompt".
    """
    if not prompt.strip():
        return "no-prompt"
    plain = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")
    if plain and len(plain) <= MAX_SLUG_LENGTH and prompt.isascii():
        return plain
    digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    kept = plain[: MAX_SLUG_LENGTH - len(digest) - 1].strip("-") or "prompt"
    return f"{kept}-{digest}"
