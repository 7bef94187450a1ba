"""Test what is recorded of a run's surroundings."""

import subprocess

import pytest

from t2vgan.utils import environment


@pytest.fixture
def repository(tmp_path):
    """Make a repository with a tracked module and an ignored copy."""
    for folder in ("t2vgan/utils", "venv/t2vgan/utils"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "environment.py").write_text("x = 1\n")
    (tmp_path / ".gitignore").write_text("venv\n")
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init"], ["add", "."], [*author, "commit", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def test_the_commit_is_that_of_the_checkout(repository, monkeypatch):
    module = repository / "t2vgan" / "utils" / "environment.py"
    monkeypatch.setattr(environment, "__file__", str(module))
    commit = environment.git_commit()
    assert commit is not None
    assert len(commit) == 40
    module.write_text("x = 2\n")
    assert environment.git_commit() == f"{commit}+"


def test_a_package_installed_in_another_repository_has_no_commit(repository, monkeypatch):
    module = repository / "venv" / "t2vgan" / "utils" / "environment.py"
    monkeypatch.setattr(environment, "__file__", str(module))
    assert environment.git_commit() is None
