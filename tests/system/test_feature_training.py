"""The command that trains the features of the distances."""

import pytest

from t2vgan.errors import UserError
from t2vgan.evaluation.distribution.feature_network import load_features
from tests.support.commands import python, python_ok

pytestmark = pytest.mark.system


def test_the_command_trains_a_file_that_loads_and_damage_is_noticed(tmp_path):
    data, out = tmp_path / "data", tmp_path / "features.safetensors"
    python_ok("-m", "data_tools.build_shards", "circles", "--out", data, "--num-clips", 600,
              "--num-frames", 8, "--size", "32x32")  # fmt: skip
    train = ("-m", "t2vgan.evaluation.distribution.features", "--data", data, "--out", out)
    assert "of clips not trained on" in python_ok(*train, "--num-epochs", 1).stdout
    _, info = load_features(out)
    assert (info.num_clips, info.num_epochs, list(info.accuracy)) == (540, 1, ["motion"])
    content = bytearray(out.read_bytes())
    content[-100] ^= 1
    out.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        load_features(out)
    few = python(*train, "--num-clips", 100)
    assert (few.returncode, few.stderr.count("\n")) == (2, 1)
    assert "100 clips are too few to train features on: give 500 or more" in few.stderr
