"""One run_dir, one run."""

import errno
import fcntl
import multiprocessing
import os

import pytest

from t2vgan.errors import UserError
from t2vgan.training.run_lock import locked


def hold(run_dir, held, ends) -> None:
    with locked(run_dir):
        held.send(os.getpid())
        ends.recv()


@pytest.fixture
def holder(tmp_path):
    processes = multiprocessing.get_context("fork")
    receiver, held = processes.Pipe(duplex=False)
    ends, end = processes.Pipe(duplex=False)
    process = processes.Process(target=hold, args=(tmp_path, held, ends))
    process.start()
    receiver.recv()
    yield process, end
    process.kill()
    process.join()


def test_a_second_holder_is_refused_by_name(holder, tmp_path):
    process, _ = holder
    refused = pytest.raises(UserError, match=f"in use by process {process.pid} on ")
    with refused, locked(tmp_path, timeout_seconds=0.3):
        pass


def test_a_killed_holder_leaves_no_lock(holder, tmp_path):
    process, _ = holder
    process.kill()
    process.join()
    with locked(tmp_path, timeout_seconds=0):
        pass


def test_a_holder_that_is_just_leaving_is_waited_for(holder, tmp_path):
    _, end = holder
    end.send("now")
    with locked(tmp_path, timeout_seconds=20):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_a_file_in_the_place_of_the_folder_is_the_users_mistake(name, tmp_path):
    (tmp_path / "file").touch()
    refused = pytest.raises(UserError, match=rf"run_dir=.*{name}: a file .* another --run-dir")
    with refused, locked(tmp_path / name):
        pass


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path):
        pass
    assert "start only one run in it" in capsys.readouterr().err
