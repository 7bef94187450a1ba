"""Do all ranks run the same code, with the same libraries, config and data?"""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import t2vgan
from t2vgan.config import Config
from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.rank_check import find_mismatched_ranks
from t2vgan.errors import UserError
from t2vgan.utils.files import sha256_of
from t2vgan.utils.frozen import flatten

LIBRARIES = ("torch", "accelerate", "numpy", "opencv-python-headless", "webdataset")
# A node may keep its own copy of the data, whose fingerprint is compared, and have its own cores.
OWN_BUSINESS = {
    "data.path",
    "data.mix",
    "data.cache_path",
    "data.cache_gigabytes",
    "num_cpu_threads",
}
RANKS_NAMED = 8
NAMED = 3

Facts = dict[str, str]


def describe_software() -> Facts:
    """Return the versions that this process runs and the checksum of each of our source files."""
    package = Path(t2vgan.__file__).parent
    sources = [*package.glob("**/*.py"), package.parent / "train.py"]
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        **{
            f"code {path.relative_to(package.parent)}": sha256_of(path)[:12]
            for path in sources
            if path.is_file()
        },
    }


def describe_config(config: Config) -> Facts:
    """Return every option that must be the same on all ranks."""
    options = flatten(config).items()
    return {f"--{name}": str(value) for name, value in options if name not in OWN_BUSINESS}


def find_differences(facts_by_rank: Sequence[Mapping[str, str]]) -> list[str]:
    """Return one text for each fact that is not the same everywhere, with ranks and values."""
    names = list(dict.fromkeys(name for facts in facts_by_rank for name in facts))
    values = [[facts.get(name, "missing") for name in names] for facts in facts_by_rank]
    texts = []
    for name, odd in find_mismatched_ranks(names, values):
        place = names.index(name)
        usual = next(row[place] for rank, row in enumerate(values) if rank not in odd)
        ranks = ", ".join(map(str, odd[:RANKS_NAMED])) + (" ..." if len(odd) > RANKS_NAMED else "")
        texts.append(f"{name} is {usual}, but {values[odd[0]][place]} on rank {ranks}")
    return texts


def check_agreement(processes: DistributedContext, facts: Facts) -> None:
    """Compare facts over ranks (collective).

    Raises:
        UserError: on every rank alike, naming what differs, where, and both values.
    """
    found = find_differences(processes.gather_objects(facts))
    if found:
        raise UserError(
            f"the ranks do not agree: {name_some(found)}; start every rank with the same command,"
            " code and packages"
        )


def name_some(texts: Sequence[str]) -> str:
    others = f" (and {len(texts) - NAMED} others)" if len(texts) > NAMED else ""
    return "; ".join(texts[:NAMED]) + others
