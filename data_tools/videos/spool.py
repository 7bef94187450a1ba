"""Hold a row's clips until the whole row has been read."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from t2vgan.data.pixel_sums import PixelSums
from t2vgan.data.shards import EncodedSample

MEMORY_BYTES = 32 << 20  # the rest is in an unnamed temporary file


class SampleSpool:
    """A list of encoded clips, moved to disk when large."""

    def __init__(self, folder: Path):
        self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES, dir=str(folder))  # noqa: SIM115

    def __enter__(self) -> "SampleSpool":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def append(self, sample: EncodedSample) -> None:
        """Add a clip as a line of JSON and its members' bytes."""
        sizes = {name: len(data) for name, data in sample.members.items()}
        sums = sample.pixel_sums and sample.pixel_sums.model_dump()
        header = {"key": sample.key, "sizes": sizes, "pixel_sums": sums}
        self._file.write(json.dumps(header).encode() + b"\n")
        self._file.writelines(sample.members.values())

    def __iter__(self) -> Iterator[EncodedSample]:
        """Yield the clips in their order."""
        self._file.seek(0)
        for line in iter(self._file.readline, b""):
            header = json.loads(line)
            members = {name: self._file.read(size) for name, size in header["sizes"].items()}
            sums = header["pixel_sums"] and PixelSums.model_validate(header["pixel_sums"])
            yield EncodedSample(header["key"], members, sums)
