"""Recognize, normalize and redact URLs of remote data."""

import os
import re
from pathlib import Path

from t2vgan.errors import UserError

REMOTE_SCHEMES = ("http", "https", "s3", "gs", "gcs", "az", "abfs")
WEB_SCHEMES = ("http", "https")  # can be neither listed nor written to
HIDDEN = "***"
URL_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}://(?:[^\s/?#]*@)?[^\s'\"<>`]*")


def is_url(location: str) -> bool:
    """Return whether a location is a URL, to be read through fsspec."""
    return scheme_of(location) in REMOTE_SCHEMES and "::" not in location


def scheme_of(location: str) -> str:
    """Return a location's URL scheme in lower case, or an empty string."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", location)
    return match.group(1).lower() if match else ""


def host_of(url: str) -> str:
    """Return a URL's host in lower case, without user and port."""
    place = re.split(r"[/?#\\]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]
    return re.sub(r":\d*$", "", place).strip("[]").lower()


def as_location(path: Path | str) -> str:
    """Return a folder's path or URL as a string.

    A Path removes one of a URL's slashes; it is restored.

    Raises:
        UserError: the URL has an unknown scheme, and would be taken for a folder named "scheme:".
    """
    text = os.fspath(path)
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+", text)
    if match is None:
        return text
    if match.group(1).lower() not in REMOTE_SCHEMES or "::" in text:
        known = ", ".join(f"{scheme}://" for scheme in REMOTE_SCHEMES)
        raise UserError(f"{redact(text)}: give a folder's path, or a URL of {known}")
    return f"{match.group(1).lower()}://{text[match.end() :]}"


def redact(text: str) -> str:
    """Hide passwords and signatures in the URLs of a text."""
    if "://" not in text:  # the usual case, including data URIs of megabytes
        return text
    return URL_IN_TEXT.sub(lambda match: redact_url(match[0]), text)


def redact_url(location: str) -> str:
    """Hide a URL's password and its query values; keep its path.

    Every location that is recorded or shown passes through here. `abfs://container@host` holds no
    password; the user name in a web address may be one.
    """
    scheme, separator, rest = location.partition("://")
    if not separator or scheme_of(location) != scheme.lower():
        return location
    is_web = scheme.lower() in WEB_SCHEMES
    match = re.fullmatch(r"([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", rest, re.DOTALL)
    assert match is not None, "every text has these parts"
    place, path, query, fragment = match.groups(default="")
    user, at, host = place.rpartition("@")
    user = HIDDEN if at and (is_web or ":" in user) else user
    parts = [_hide_value(part, always=is_web) for part in query.removeprefix("?").split("&")]
    query = f"?{'&'.join(parts)}" if query else ""
    fragment = f"#{HIDDEN}" if fragment and is_web else fragment
    return f"{scheme}://{user}{at}{host}{path}{query}{fragment}"


def _hide_value(part: str, *, always: bool) -> str:
    name, equals, _ = part.partition("=")
    return f"{name}={HIDDEN}" if equals else HIDDEN if part and always else part
