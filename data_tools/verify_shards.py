"""Verify a folder of shards: `python -m data_tools.verify_shards DIR_OR_URL`."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from tyro.conf import Positional

from t2vgan.errors import UserError
from t2vgan.utils import cli
from t2vgan.utils.console import count_of, escape_control_chars, format_error, print_stdout

if TYPE_CHECKING:
    from t2vgan.data.shards import EncodedSample, InputCounts, Manifest, ShardEntry

    from .build.destination import Destination


def main() -> int:
    """Run the command."""
    return cli.call(verify_shards)


def verify_shards(folder: Positional[str]) -> int:
    """Check every shard against the manifest and every sample against the format.

    Checks checksums, counts, prompts, that keys are unique and that every clip decodes. Problems
    are printed one per line; the exit code is 1 if there are any.

    Args:
        folder: The folder with manifest.json and its shards, or its URL (s3://bucket/folder).
    """
    from .build.destination import open_finished

    num_problems = 0
    with open_finished(folder) as out:
        manifest = out.manifest()
        for problem in Verifier(out, manifest).problems():
            num_problems += 1
            print_stdout(escape_control_chars(problem))
    if num_problems:
        print_stdout(f"{folder}: {count_of(num_problems, 'problem')}")
        return 1
    print_stdout(
        f"{folder}: {manifest.num_samples} clips in {len(manifest.shards)} shards, all sound"
    )
    return 0


class Verifier:
    """Read a data set once and compare it with its manifest."""

    def __init__(self, out: "Destination", manifest: "Manifest"):
        self._out = out
        self._manifest = manifest
        self._shard_of_key: dict[str, str] = {}
        self._prompts: Counter[str] = Counter()

    def problems(self) -> Iterator[str]:
        """Yield one line for each problem."""
        from tqdm import tqdm

        total = self._manifest.num_samples
        with tqdm(total=total, desc="verifying", unit=" clips", delay=0.5) as progress:
            for entry in self._manifest.shards:
                yield from self._shard_problems(entry)
                progress.update(entry.num_samples)
        for prompt in sorted(self._prompts.keys() | self._manifest.prompts.keys()):
            expected, found = self._manifest.prompts.get(prompt, 0), self._prompts[prompt]
            if expected != found:
                yield f"prompt {prompt!r}: expected {expected} clips, found {found}"
        if self._manifest.input is not None:
            yield from self._account_problems(self._manifest.input)

    def _account_problems(self, counts: "InputCounts") -> Iterator[str]:
        """Yield a problem if input rows have neither clips nor a failure."""
        from .build.journal import FAILURES_NAME, read_failures
        from .videos.keys import parse_key

        try:
            failures = read_failures(self._out.folder, self._out)
        except UserError as error:
            yield format_error(error)
            return
        found = Counter(failure.reason for failure in failures)
        if found != counts.failures:
            yield f"{FAILURES_NAME}: expected {counts.failures}, found {dict(found)}"
        rows = {failure.row for failure in failures}
        rows |= {row for key in self._shard_of_key if (row := parse_key(key)[0]) is not None}
        num_lost = counts.num_rows - sum(0 <= row < counts.num_rows for row in rows)
        if num_lost:
            first = list(islice((n for n in range(counts.num_rows) if n not in rows), 10))
            yield f"{num_lost} rows have neither clips nor a reason: {first}"

    def _shard_problems(self, entry: "ShardEntry") -> Iterator[str]:
        from t2vgan.data.shards import read_samples
        from t2vgan.utils.files import sha256_of

        where, num_samples = f"{self._out}/{entry.name}", 0
        try:
            with self._out.copy_of(entry) as path:
                if (found := sha256_of(path)) != entry.sha256:
                    yield f"{where}: expected sha256 {entry.sha256}, found {found}"
                for sample in read_samples(path, name=where):
                    num_samples += 1
                    faults = self._faults(sample, entry.name)
                    yield from (f"{where}: sample {sample.key}: {fault}" for fault in faults)
        except FileNotFoundError:
            yield f"{where} is missing; the manifest lists it with {entry.num_bytes} bytes"
            return
        except (UserError, OSError) as error:
            yield format_error(error)
        if num_samples != entry.num_samples:
            yield f"{where}: expected {entry.num_samples} samples, found {num_samples}"

    def _faults(self, sample: "EncodedSample", shard: str) -> Iterator[str]:
        from t2vgan.data.shards import decode_with_captions, parse_metadata

        if (first := self._shard_of_key.get(sample.key)) is not None:
            yield f"key is already used in {first}"
        self._shard_of_key[sample.key] = shard
        try:
            _, captions = decode_with_captions(sample, self._manifest.geometry)
            self._prompts.update(captions)
        except ValueError as error:
            yield str(error)
        try:
            parse_metadata(sample)
        except ValueError as error:
            yield str(error)


if __name__ == "__main__":
    cli.run(main)
