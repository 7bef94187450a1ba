"""List the public Python objects for mkdocstrings."""

import t2vgan


def format_api() -> str:
    """Return a directive for everything that t2vgan exports."""
    names = [name for name in t2vgan.__all__ if not name.startswith("__")]
    return "\n\n".join(f"::: t2vgan.{name}" for name in names)
