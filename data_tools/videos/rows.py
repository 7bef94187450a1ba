"""Define the input list; its order depends on the source only."""

import codecs
import hashlib
import json
from dataclasses import astuple, dataclass, field, replace

from t2vgan.utils.untrusted import MAX_CAPTION_BYTES
from t2vgan.utils.urls import redact_url


@dataclass(frozen=True, slots=True)
class Row:
    """One source video and its caption.

    In a tar, `member` lies at `offset` with `size` bytes. `problem` is what was wrong with the row
    before any video was opened.
    """

    path: str
    prompt: str = ""
    member: str = ""
    offset: int = 0
    size: int | None = None
    problem: str = ""

    @property
    def source(self) -> str:
        """The row's name in metadata and reports, valid as UTF-8, without passwords."""
        path = redact_url(self.path)
        name = f"{path}/{self.member}" if self.member else path
        return name.encode("utf-8", "backslashreplace").decode()

    @property
    def problem_kind(self) -> str:
        """The problem as a word for the summary."""
        return "prompt" if self.problem.startswith(("no caption", "the caption")) else "list"

    def with_caption(self, caption: bytes) -> "Row":
        """Return the row with a caption, truncated if very long."""
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        try:
            text = decoder.decode(
                caption[:MAX_CAPTION_BYTES], final=len(caption) < MAX_CAPTION_BYTES
            )
        except UnicodeDecodeError:
            return replace(self, problem="the caption is not UTF-8")
        return replace(self, prompt=text)


@dataclass(frozen=True)
class PassedOver:
    """A file of a source that is no row, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Source:
    """A read input list; relative paths in it start from `root`."""

    root: str
    rows: list[Row]
    kind: str
    passed_over: list[PassedOver] = field(default_factory=list)

    @property
    def sha256(self) -> str:
        """The digest of the rows, which identifies the list."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(json.dumps(astuple(row)).encode() + b"\n")
        return digest.hexdigest()
