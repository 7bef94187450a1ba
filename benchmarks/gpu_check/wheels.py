"""Carry packages to a machine without a network: `make gpu-wheels`.

`python -m benchmarks.gpu_check.wheels` downloads wheels of the versions installed here, for another
Python version. Where it runs, the check installs those that are missing or older, using only the
standard library. Large packages that GPU machines already have (`OF_THE_MACHINE`) are not carried.
"""

import argparse
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build/wheels"
INSTALLED = ROOT / f"build/packages-{sys.version_info.major}.{sys.version_info.minor}"
MAX_BYTES = 64 * 2**20
OF_THE_MACHINE = {"torch", "torchvision", "numpy", "pillow", "opencv-python-headless"}
UNUSED = {"av", "wandb"}  # video files, and a tracker
FOR_TESTS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def find_packages(python_version: str) -> dict[str, str]:
    """Return name -> installed version of carried packages and dependencies."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    environment = {"python_version": python_version, "python_full_version": f"{python_version}.0"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pending = [*map(Requirement, project["dependencies"]), *map(Requirement, FOR_TESTS)]
    found: dict[str, str] = {}
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        if name in found or name in OF_THE_MACHINE | UNUSED:
            continue
        if requirement.marker and not requirement.marker.evaluate({**environment, "extra": ""}):
            continue
        package = importlib.metadata.distribution(name)
        found[name] = package.version
        pending += map(Requirement, package.requires or ())
    return found


def collect(folder: Path = FOLDER, python_version: str = "3.12") -> int:
    """Download the wheels into a folder; return their bytes.

    Raises:
        SystemExit: they are more than `MAX_BYTES`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    packages = [f"{name}=={version}" for name, version in find_packages(python_version).items()]
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    options = ("--no-deps", "--only-binary=:all:", "--implementation", "cp", "--quiet")
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder)]
    subprocess.run(
        [*command, "--python-version", python_version, *platforms, *sorted(packages)], check=True
    )
    size = sum(path.stat().st_size for path in folder.glob("*.whl"))
    if size > MAX_BYTES:
        raise SystemExit(f"{folder}: {size / 2**20:.0f} MiB, more than {MAX_BYTES / 2**20:.0f}")
    return size


def find_missing(folder: Path = FOLDER) -> list[Path]:
    """Return the carried wheels whose packages are missing here, or older."""
    installed = {
        re.sub(r"[-_.]+", "_", package.name).lower(): parse_version(package.version)
        for package in importlib.metadata.distributions()
    }
    missing = []
    for path in sorted(folder.glob("*.whl")):
        name, version, *_ = path.name.split("-")
        if installed.get(name.lower(), ()) < parse_version(version):
            missing.append(path)
    return missing


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, for comparison."""
    return tuple(map(int, re.findall(r"\d+", text)))


def install_missing() -> None:
    """Install missing packages from the wheels, and restart this command."""
    paths = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    if str(INSTALLED) in paths or not find_missing():
        return
    sys.path.insert(0, str(INSTALLED))  # what an earlier command has installed
    if missing := find_missing():
        options = ("--no-index", "--no-deps", "--no-compile", "--upgrade", "--quiet")
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(INSTALLED)]
        subprocess.run([*command, *map(str, missing)], check=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(INSTALLED), *paths])}
    os.execve(sys.executable, sys.orig_argv, environment)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--python-version", default="3.12", help="of the machine with the GPU")
    arguments = parser.parse_args()
    size = collect(arguments.folder, arguments.python_version)
    print(f"{size / 2**20:.1f} MiB of wheels in {arguments.folder}")
