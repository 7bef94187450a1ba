"""Benchmarks are run seldom: what they import must still be there."""

import importlib

import pytest

from benchmarks.measure import ROOT

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "benchmarks").rglob("*.py")
)


@pytest.mark.parametrize("module", MODULES)
def test_a_benchmarks_imports_are_there(module):
    importlib.import_module(module)
