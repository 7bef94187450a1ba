"""Train, draw, evaluate and save from Python, in one process."""

import json

import pytest

from tests.support.commands import python_ok

SCRIPT = """
import sys
import t2vgan
from t2vgan.config import ClipGanConfig

data, run_dir = sys.argv[1:]
options = {
    "run_dir": run_dir,
    "data": {"path": data, "num_streams": 4},
    "model": ClipGanConfig(channels=4, hidden_size=16, text_size=8, latent_size=4).model_dump(),
    "sample_every_steps": 2, "evaluate_every_steps": 0, "save_every_steps": 2,
    "num_cpu_threads": 1,
}
train = {"global_batch_size": 8, "frames_per_clip": 3, "recovered_latents": 2}
for num_steps in (2, 2):
    assert t2vgan.train("quickstart", **options, train=train | {"num_steps": num_steps})
pipe = t2vgan.TextToVideo.from_pretrained(run_dir)
assert pipe.info.step == 2
result = t2vgan.evaluate(run_dir, data, num_clips=38, probe_steps=2)
print(result.protocol.num_clips)
record = f"{run_dir}/evaluation.json"
open(record, "w").write(result.model_dump_json())
pipe.save_pretrained(f"{run_dir}/model", evaluation=record)
for wrong in ({"data": "nowhere"}, {"data": ""}):
    try:
        t2vgan.evaluate(run_dir, **wrong)
    except t2vgan.errors.UserError as error:
        print(error)
"""


@pytest.mark.system
def test_a_run_is_trained_resumed_evaluated_and_saved_from_python(circles, tmp_path):
    result = python_ok("-c", SCRIPT, circles, tmp_path / "run")
    num_clips, *refused = result.stdout.splitlines()
    assert num_clips == "38"
    assert len(refused) == 2
    assert "is complete at step 2" in result.stderr
    records = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert "train" in {json.loads(line)["kind"] for line in records}
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "on 38 clips" in card
