"""The command that trains a probe."""

import pytest

from t2vgan.evaluation.probe.probe import load_probe
from tests.support.textures import write_textures
from tests.support.warm import run_warm, run_warm_ok

pytestmark = pytest.mark.system


def test_the_command_trains_a_file_that_an_evaluation_loads(tmp_path):
    data, out = write_textures(tmp_path / "data", 160, with_labels=True), tmp_path / "p.safetensors"
    train = ("-m", "t2vgan.evaluation.probe", "--data", data, "--out", out)
    done = run_warm_ok(*train, "--num-steps", 3)
    assert "names the label of real clips that it was not trained on" in done.stdout
    probe = load_probe(out)
    assert (probe.info.kind, probe.info.num_steps, len(probe.info.prompts)) == ("label", 3, 80)
    wrong = run_warm(*train, "--num-steps", 0)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "num_steps=0 must be at least 1" in wrong.stderr
