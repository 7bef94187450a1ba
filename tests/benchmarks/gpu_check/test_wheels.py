"""Packages that are carried to a machine without a network."""

import pytest

from benchmarks.gpu_check import wheels


def test_the_carried_packages_are_complete_and_small():
    found = wheels.find_packages("3.12")
    direct = {"tyro", "pydantic", "webdataset", "accelerate", "safetensors", "einops", "pytest"}
    assert direct | {"pydantic-core", "annotated-types", "braceexpand", "psutil"} <= found.keys()
    assert not found.keys() & (wheels.OF_THE_MACHINE | wheels.UNUSED)
    assert not any(name.startswith(("nvidia", "triton")) for name in found)


def test_what_is_missing_or_older_is_installed(tmp_path, monkeypatch):
    class Package:
        def __init__(self, name, version):
            self.name, self.version = name, version

    monkeypatch.setattr(
        wheels.importlib.metadata,
        "distributions",
        lambda: [
            Package("pydantic-core", "2.9.1"),
            Package("Jinja2", "3.1.6"),
            Package("a.b", "1"),
        ],
    )
    names = ["pydantic_core-2.50.5-cp312-cp312-any.whl", "jinja2-3.1.6-py3-none-any.whl",
             "tyro-1.0-py3-none-any.whl", "a_b-1-py3-none-any.whl"]  # fmt: skip
    for name in names:
        (tmp_path / name).touch()
    missing = [path.name.split("-")[0] for path in wheels.find_missing(tmp_path)]
    assert missing == ["pydantic_core", "tyro"]


@pytest.mark.parametrize(("old", "new"), [("2.9.1", "2.10"), ("1.0", "1.0.1"), ("1.9", "2.0rc1")])
def test_versions_compare_as_numbers(old, new):
    assert wheels.parse_version(old) < wheels.parse_version(new)
