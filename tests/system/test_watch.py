"""The live view of a real run: at work, in a terminal, and killed."""

import os
import pty
import signal
import subprocess
import sys
import time

from tests.support.commands import ROOT, environment, train
from tests.support.warm import run_warm, run_warm_ok, start_warm

WATCH = ("-m", "t2vgan.tracking.watch")
LONG = ("--train.num-steps", 100_000, "--save-every-steps", 50_000)


def test_a_run_at_work_and_killed(circles, tmp_path):
    run_dir = tmp_path / "run"
    process = start_warm(*train(circles, run_dir, *LONG))
    try:
        text = run_warm_ok(*WATCH, run_dir, "--once").stdout
        assert "running" in text
        assert "/100000" in text
        assert "clips/s" in text
        assert "gradient norm" in text
        assert live_view(run_dir).count("/100000") >= 3, "it looks again and again"
    finally:
        process.kill()
        process.communicate()
    for path in (run_dir / "metrics.jsonl", *(run_dir / "heartbeats").iterdir()):
        os.utime(path, (0, 0))
    text = run_warm_ok(*WATCH, run_dir, "--once").stdout
    assert "killed, hanging or disconnected" in text


def live_view(run_dir) -> str:
    """Look at a run in a terminal until three pictures were drawn, and press Ctrl-C."""
    terminal, end = pty.openpty()
    arguments = [sys.executable, *WATCH, str(run_dir), "--every-seconds", "0.2"]
    process = subprocess.Popen(
        arguments, cwd=ROOT, env=environment(TERM="xterm"), stdin=end, stdout=end, stderr=end
    )
    os.close(end)
    output, deadline = "", time.monotonic() + 300
    while output.count("/100000") < 3:
        assert time.monotonic() < deadline, output
        output += os.read(terminal, 65536).decode(errors="replace")
    process.send_signal(signal.SIGINT)
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:  # its end of the terminal is closed
        pass
    assert process.wait(timeout=300) == 130
    return output


def test_mistakes_are_one_line(tmp_path):
    for arguments, expected in [
        ((tmp_path / "none",), "does not exist"),
        ((tmp_path, "--every-seconds", 0), "--every-seconds 0.0 must be greater than 0"),
        ((tmp_path, "--onse"), "--onse"),
    ]:
        result = run_warm(*WATCH, *arguments)
        assert result.returncode == 2
        assert expected in result.stderr
        assert "Traceback" not in result.stderr
