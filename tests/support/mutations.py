"""Damage files as nobody would: documents with other values, bytes with other bytes."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

STRANGE = (
    None, True, -1, 0, 7, 10**12, -(10**400), 1e-320, 1.7e308, float("nan"), float("inf"), "",
    "7", "\x1b[2J\r\n\u202e", "\ud800", "../../x", "/etc/passwd", "a" * 5000, [], {}, [[]], [None],
    {"": {}}, {"\ud800\x1b": 1}, [[[[[[1]]]]]],
)  # fmt: skip
values = st.one_of(
    st.sampled_from(STRANGE).map(copy.deepcopy),  # it may be changed
    st.integers(),
    st.floats(),
    st.text(max_size=4),
)


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key or index) of every value inside."""
    if isinstance(document, dict | list):
        keys = list(document) if isinstance(document, dict) else range(len(document))
        for key in keys:
            yield document, key
            yield from places(document[key])


@st.composite
def documents(draw: st.DrawFn, original: Any) -> Any:
    """Draw a document with one to three values replaced, removed or added."""
    whole = {"": copy.deepcopy(original)}
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(whole))
        container, key = found[draw(st.integers(0, len(found) - 1))]
        action = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if action == "replace" or container is whole:
            container[key] = draw(values)
        elif action == "remove":
            del container[key]
        elif isinstance(container, dict):
            container[draw(st.sampled_from(["", "x", "step", "\x1b", "a" * 300]))] = draw(values)
        else:
            container.insert(key, draw(values))
    return whole[""]


@st.composite
def texts(draw: st.DrawFn, original: Any) -> bytes:
    """Draw the bytes of a JSON document, with other values or other bytes."""
    if draw(st.integers(0, 3)):
        return json.dumps(draw(documents(original))).encode()
    return draw(damaged(json.dumps(original).encode()))


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw bytes that are cut, or hold some others."""
    start, stop = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
    stop = min(stop, start + 8) if draw(st.booleans()) else stop
    strange = [
        b"",
        b"\xff\xfe",
        b"\0",
        b"\n",
        b"[" * 10**5,
        b'{"a":' * 10**4,
        b"9" * 5000,
        b'"\\ud800"',
    ]
    return (
        data[:start]
        + draw(st.one_of(st.sampled_from(strange), st.binary(max_size=8)))
        + data[stop:]
    )
