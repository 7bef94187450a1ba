"""Prove a folder of shards whole: `python -m data_tools.verify_shards DIR`."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from t2vgan import cli
from t2vgan.errors import UserError

if TYPE_CHECKING:
    from t2vgan.shards import EncodedSample, InputCounts, Manifest, ShardEntry


def main() -> int:
    """Verify the folder that the command line names."""
    return cli.call(verify_shards, prog="python -m data_tools.verify_shards")


def verify_shards(folder: Positional[Path]) -> int:
    """Check every shard against the manifest and every sample against the format.

    Checksums, counts, prompts, unique keys, and that every member decodes. Problems are listed
    one a line, and the exit code is then 1.

    Args:
        folder: The folder with manifest.json and its shards.
    """
    from t2vgan.shards import load_manifest

    manifest = load_manifest(folder)
    num_problems = 0
    for problem in Verifier(folder, manifest).problems():
        num_problems += 1
        print(problem, flush=True)
    if num_problems:
        print(f"{folder}: {num_problems} problem{'s' if num_problems > 1 else ''}")
        return 1
    print(f"{folder}: {manifest.num_samples} clips in {len(manifest.shards)} shards, all sound")
    return 0


class Verifier:
    """Read a whole data set once and name everything that is not as the manifest says."""

    def __init__(self, folder: Path, manifest: "Manifest"):
        self._folder = folder
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
        """Yield what does not add up: every row has clips, or is listed with a reason."""
        from data_tools.build_state import FAILURES_NAME, read_failures
        from data_tools.videos.keys import place_of_key

        try:
            failures = read_failures(self._folder)
        except UserError as error:
            yield cli.describe(error)
            return
        found = Counter(failure.reason for failure in failures)
        if found != counts.failures:
            yield f"{FAILURES_NAME}: expected {counts.failures}, found {dict(found)}"
        rows = {failure.row for failure in failures}
        rows |= {row for key in self._shard_of_key if (row := place_of_key(key)[0]) is not None}
        if lost := sorted(set(range(counts.num_rows)) - rows):
            yield f"{len(lost)} rows have neither clips nor a reason: {lost[:10]}"

    def _shard_problems(self, entry: "ShardEntry") -> Iterator[str]:
        from t2vgan.shards import read_samples, verify_checksum

        path = self._folder / entry.name
        try:
            verify_checksum(self._folder, entry)
        except (UserError, OSError) as error:
            yield cli.describe(error)
        if not path.is_file():
            return
        num_samples = 0
        try:
            for sample in read_samples(path):
                num_samples += 1
                yield from (f"{path}: sample {sample.key}: {p}" for p in self._faults(sample, path))
        except (UserError, OSError) as error:
            yield cli.describe(error)
        if num_samples != entry.num_samples:
            yield f"{path}: expected {entry.num_samples} samples, found {num_samples}"

    def _faults(self, sample: "EncodedSample", path: Path) -> Iterator[str]:
        from t2vgan.shards import decode_sample

        if (first := self._shard_of_key.get(sample.key)) is not None:
            yield f"key is used before, in {first}"
        self._shard_of_key[sample.key] = path.name
        try:
            _, prompt = decode_sample(sample, self._manifest.geometry)
            self._prompts[prompt] += 1
        except ValueError as error:
            yield str(error)
        try:
            json.loads(sample.members.get("json", b"{}"))
        except ValueError as error:
            yield f"metadata is not JSON ({error})"


if __name__ == "__main__":
    cli.run(main)
