"""What is printed for people, and where."""

import sys

import pytest

from t2vgan.utils.console import print_loading


@pytest.mark.parametrize(
    ("is_terminal", "rank", "expected"),
    [(True, "0", "loading PyTorch\n"), (True, "1", ""), (False, "0", "")],
)
def test_loading_is_said_once_and_not_in_logs(is_terminal, rank, expected, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    monkeypatch.setenv("RANK", rank)
    print_loading("PyTorch")
    assert capsys.readouterr().err == expected
