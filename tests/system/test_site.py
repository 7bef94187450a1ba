"""The documentation as a site: it builds, without a network, and leaves out no option."""

import html
import re
import shutil
import sys
from pathlib import Path

import pytest

import t2vgan
from t2vgan.__main__ import COMMANDS
from t2vgan.config import Config
from t2vgan.config.presets import PRESETS
from t2vgan.utils.frozen import flatten
from tests.support.browsing import CHROMIUM, browser
from tests.support.commands import ROOT, run

SOURCES = ("docs", "dev", "launch", "t2vgan", "data_tools")
FILES = ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "train.py")
OTHERS = {
    "--actions-data", "--array", "--config_file", "--gpu-step-ms", "--gpu_ids",
    "--gpus-per-node", "--kills", "--machine_rank", "--main_process_ip", "--max_restarts",
    "--multi_gpu", "--nnodes", "--nodes", "--nproc_per_node", "--ntasks-per-node",
    "--num_machines", "--num_processes", "--part", "--python-version", "--quiet",
    "--rdzv_backend", "--rehearse", "--time", "--train-options",
}  # fmt: skip
"""Options of other programs, and of our benchmarks, that the pages name."""
OPTION = re.compile(r"(?<![\w-])--[a-zA-Z][\w.-]*\w")


def build(root: Path, out: Path):
    options = ("--strict", "--site-dir", out)  # --quiet would hide warnings from --strict
    return run(
        sys.executable, "-m", "mkdocs", "build", *options, cwd=root, PYTHONPATH=str(root),
        NO_MKDOCS_2_WARNING="1",
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    result = build(ROOT, out)
    assert result.returncode == 0, result.stdout + result.stderr
    return out


def text_of(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", page.read_text()))


def test_nothing_is_fetched_from_elsewhere(site):
    pages = list(site.glob("**/*.html"))
    assert len(pages) > 20
    for page in pages:
        fetched = re.findall(
            r"<(?:script|img|iframe|source)[^>]*?src=\"?([^\s\">]+)", page.read_text()
        )
        fetched += re.findall(r"<link[^>]*?href=\"?([^\s\">]+)", page.read_text())
        assert fetched
        assert not [address for address in fetched if re.match(r"(\w+:)?//", address)], page


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which .ci/run installs")
def test_pages_fit_a_phone_and_ask_for_nothing(site, tmp_path):
    with browser(tmp_path) as shown:
        for name in ("index", "tutorial", "options", "commands", "python", "benchmarks"):
            shown.open(site / f"{name}.html", width=390)
            assert shown.evaluate("document.documentElement.scrollWidth") <= 390, name
            assert not shown.complaints()
            assert all(address.startswith("file:") for address in shown.requests())


def test_every_option_of_training_is_in_the_reference(site):
    page = text_of(site / "options.html")
    flags = set(OPTION.findall(page))
    names = {name for config in (Config(), *PRESETS.values()) for name in flatten(config)}
    wanted = {f"--{name.replace('_', '-')}" for name in names - {"model.kind"}}
    assert len(wanted) > 60
    assert wanted <= flags
    assert all(preset in page for preset in PRESETS)


def test_every_command_is_in_the_reference(site):
    page = text_of(site / "commands.html")
    assert all(f"usage: t2vgan {command} " in page for command in COMMANDS)


def test_every_public_name_is_in_the_reference(site):
    page = (site / "python.html").read_text()
    public = [name for name in t2vgan.__all__ if not name.startswith("__")]
    assert public
    assert all(f'id="t2vgan.{name}"' in page for name in public)


def test_the_pages_name_no_option_that_does_not_exist(site):
    options = OPTION.findall(text_of(site / "options.html") + text_of(site / "commands.html"))
    switched = {re.sub(r"^--(.*\.)?(\w)", r"--\1no-\2", option) for option in options}
    known = {*options, *switched, *OTHERS}
    history = {"experiments.html"}  # names what there was
    unknown = {
        f"{page.name}: {option}"
        for page in site.glob("*.html")
        if page.name not in history
        for option in OPTION.findall(text_of(page))
        if option not in known
    }
    assert not unknown


@pytest.fixture
def copy(tmp_path) -> Path:
    root = tmp_path / "copy"
    for name in SOURCES:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, root)
    return root


def test_broken_links_are_errors(copy, tmp_path):
    broken = {
        "README.md": "docs/nowhere.md",
        "CONTRIBUTING.md": "t2vgan/gan/nothing.py",
        "launch/README.md": "../docs/circles.png",
        "docs/resuming.md": "reliability.md#nothing-of-that-name",
    }
    for page, link in broken.items():
        with (copy / page).open("a") as file:
            file.write(f"\n[broken]({link})\n")
    result = build(copy, tmp_path / "site")
    assert result.returncode != 0
    for link in broken.values():
        assert Path(link).name.split("#")[-1] in result.stdout + result.stderr
