"""Options of the data: `--data.*`."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from t2vgan.utils.frozen import Fraction, Versioned
from t2vgan.utils.urls import as_location, redact_url


class DataConfig(Versioned):
    """The shards and their order."""

    path: Annotated[str, BeforeValidator(as_location)] = "data/circles"
    """Folder of shards with a manifest.json (t2vgan build makes one), or its
    URL, such as s3://bucket/folder."""
    mix: tuple[str, ...] = ()
    """Several data sets instead of `path`, each with its weight in the mixture:
    data/cats=3 s3://bucket/dogs=1."""
    cache_path: Path | None = None
    """Local cache for the shards of a URL; runs may share it. Default: ~/.cache/t2vgan/shards."""
    cache_gigabytes: PositiveFloat = 20.0
    """Size limit of the cache; the least recently used shards are deleted."""
    num_streams: PositiveInt = 8
    """Number of data streams: a multiple of the world size that divides the global batch."""
    shuffle_window: PositiveInt = 256
    """Number of samples of a stream that are shuffled together."""
    num_threads: NonNegativeInt = 0
    """Threads per process that decode clips; their number does not affect the order. 0: up to 4 if
    training on a GPU, else 1."""
    verify_checksums: bool = True
    """Compare each shard with its SHA-256 when it is first opened."""
    max_bad_fraction: Fraction = 0.01
    """Stop when more than this share of the clips could not be read or decoded."""
    read_timeout_seconds: PositiveInt = 300
    """A shard is treated as damaged if reading from it takes longer than this."""
    max_words: Annotated[int, Field(ge=2)] = 20_000
    """Size of the vocabulary: the most frequent words; all others share one unknown word."""
    caption_dropout: Fraction = 0.0
    """Share of clips shown with an empty prompt instead of their caption, so that the model can
    also generate without a prompt (Ho and Salimans, 2022, who use 0.1)."""

    @property
    def name(self) -> str:
        """The data's name in messages."""
        shown = self.redacted()
        return " + ".join(shown.mix) or shown.path

    def redacted(self) -> "DataConfig":
        """Return the config to be recorded, without passwords in URLs."""
        parts = (entry.rpartition("=") for entry in self.mix)
        mix = tuple(f"{redact_url(path)}={weight}" for path, _, weight in parts)
        return self.model_copy(update={"path": redact_url(self.path), "mix": mix})

    @model_validator(mode="after")
    def check_mix(self) -> "DataConfig":
        parse_mix(self.mix)
        return self


def parse_mix(entries: tuple[str, ...]) -> dict[str, Decimal]:
    """Parse `data.mix`: path or URL -> weight.

    Raises:
        ValueError: an entry is malformed, or names a path twice.
    """
    weights = {}
    for entry in entries:
        path, _, number = entry.rpartition("=")
        if not path or not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", number):
            raise ValueError(
                f"data.mix {entry!r} must be PATH=WEIGHT, such as data/cats=3 or data/cats=0.25"
            )
        if not 0 < (weight := Decimal(number)) <= 1000:
            raise ValueError(f"data.mix {entry!r}: the weight must be between 0.001 and 1000")
        if path in weights:
            raise ValueError(f"data.mix lists {path} twice; list it once, with the sum of weights")
        weights[path] = weight
    return weights
