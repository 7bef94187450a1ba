"""Define the input list, whose order depends only on the source."""

import codecs
import hashlib
import json
from dataclasses import dataclass, field, replace

from t2vgan.utils.untrusted import MAX_CAPTION_BYTES
from t2vgan.utils.urls import redact_url


@dataclass(frozen=True, slots=True)
class Row:
    """One source video and its captions.

    In a tar, `member` is at `offset` and has `size` bytes. `problem` is an error found before any
    video was opened. `further` are the captions after the first, `label` is the class and `split`
    the split that the list assigns. All are empty by default.
    """

    path: str
    prompt: str = ""
    member: str = ""
    offset: int = 0
    size: int | None = None
    problem: str = ""
    further: tuple[str, ...] = ()
    label: str = ""
    split: str = ""

    @property
    def captions(self) -> tuple[str, ...]:
        """All captions as they were read."""
        return (self.prompt, *self.further) if self.prompt else ()

    @property
    def identity(self) -> tuple[object, ...]:
        """What determines the clips besides the settings."""
        rest = (self.further, self.label) if self.further or self.label else ()
        return (
            *(self.path, self.prompt, self.member, self.offset, self.size, self.problem),
            *rest,
        )

    @property
    def source(self) -> str:
        """The row's name in metadata and reports: valid UTF-8, without passwords."""
        path = redact_url(self.path)
        name = f"{path}/{self.member}" if self.member else path
        return name.encode("utf-8", "backslashreplace").decode()

    @property
    def problem_kind(self) -> str:
        """The kind of problem, as one word for the summary."""
        return "prompt" if self.problem.startswith(("no caption", "the caption")) else "list"

    def with_caption(self, caption: bytes) -> "Row":
        """Return the row with the captions of a text, one per line.

        Only the beginning of a very long text is read.
        """
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        try:
            text = decoder.decode(
                caption[:MAX_CAPTION_BYTES], final=len(caption) < MAX_CAPTION_BYTES
            )
        except UnicodeDecodeError:
            return replace(self, problem="the caption is not UTF-8")
        return self.with_lines(text)

    def with_lines(self, text: str) -> "Row":
        """Return the row with a caption for each non-blank line."""
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        if len(lines) < 2:
            return replace(self, prompt=text)
        return replace(self, prompt=lines[0], further=tuple(lines[1:]))


@dataclass(frozen=True)
class PassedOver:
    """A file of a source that was skipped, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Source:
    """A read input list; relative paths in it start from `root`."""

    root: str
    rows: list[Row]
    kind: str
    passed_over: list[PassedOver] = field(default_factory=list)
    held_out_prompts: tuple[str, ...] = ()
    """Captions of held-out rows that no remaining row has, but whose words all occur in some."""
    num_unknown: int = 0
    """Number of captions of held-out rows with words that occur in no remaining row."""
    num_held_out: int = 0
    """Number of held-out rows."""

    @property
    def sha256(self) -> str:
        """Digest of the rows, which identifies the list."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(json.dumps(row.identity).encode() + b"\n")
        return digest.hexdigest()
