"""Recognize and normalize URLs of remote data."""

import os
import re
from pathlib import Path

from t2vgan.errors import UserError

REMOTE_SCHEMES = ("http", "https", "s3", "gs", "gcs", "az", "abfs")
WEB_SCHEMES = ("http", "https")  # neither listed nor written to


def is_url(location: str) -> bool:
    """Return whether a location is a URL to be read through fsspec."""
    return scheme_of(location) in REMOTE_SCHEMES and "::" not in location


def scheme_of(location: str) -> str:
    """Return a location's URL scheme in lower case, or an empty text."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", location)
    return match.group(1).lower() if match else ""


def as_location(path: Path | str) -> str:
    """Return a folder's path or URL as text.

    A Path has removed one of a URL's slashes: it is put back.

    Raises:
        UserError: a URL of another kind, which would pass for the path of a folder named "kind:".
    """
    text = os.fspath(path)
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+", text)
    if match is None:
        return text
    if match.group(1).lower() not in REMOTE_SCHEMES or "::" in text:
        known = ", ".join(f"{scheme}://" for scheme in REMOTE_SCHEMES)
        raise UserError(f"{text}: give a folder's path, or a URL of {known}")
    return f"{match.group(1).lower()}://{text[match.end() :]}"
