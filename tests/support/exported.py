"""Run exported files in a process that cannot import t2vgan."""

import subprocess
import sys

import numpy as np
import torch

from t2vgan.pipeline.latents import draw_latents

WITHOUT_T2VGAN = "import sys\nsys.modules['t2vgan'] = None\n"
RUN = """
import numpy as np
file, inputs, outputs = sys.argv[1:]
if file.endswith(".onnx"):
    import onnxruntime
    session = onnxruntime.InferenceSession(file)
    names = {each.name for each in session.get_inputs()}
    def run(case):
        return session.run(["video"], {name: case[name] for name in names})[0]
else:
    import torch
    program = torch.export.load(file).module()
    def run(case):
        with torch.no_grad():
            return program(**{name: torch.from_numpy(case[name]) for name in case}).numpy()
arrays = np.load(inputs)
num_cases = len(arrays.files) // 4
names = ("token_ids", "token_mask", "latents", "times")
cases = [{name: arrays[f"{name}-{index}"] for name in names} for index in range(num_cases)]
np.savez(outputs, *map(run, cases))
"""


def run_without_t2vgan(code, *arguments):
    """Run Python code in a fresh process where `import t2vgan` fails."""
    command = [sys.executable, "-c", WITHOUT_T2VGAN + code, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def make_case(pipeline, prompts, num_frames, *, seed=0):
    """Return the inputs that draw each prompt once, as arrays."""
    token_ids, token_mask = pipeline.vocabulary.encode(prompts)
    seeds = range(seed, seed + len(prompts))
    latents = draw_latents(pipeline.generator.latent_shape(num_frames), seeds).numpy()
    times = torch.linspace(0, 1, num_frames).repeat(len(prompts), 1).numpy()
    return {"token_ids": token_ids, "token_mask": token_mask, "latents": latents, "times": times}


@torch.no_grad()
def draw(pipeline, case):
    """Draw a case as the pipeline does."""
    inputs = (torch.from_numpy(case[name]) for name in ("latents", "token_ids", "token_mask"))
    times, trained = torch.from_numpy(case["times"]), pipeline.info.num_frames
    is_trained = times.shape[1] == trained
    return pipeline.generator(*inputs, times, None if is_trained else trained).numpy()


def largest_differences(file, pipeline, cases, folder):
    """Return each case's largest difference between the exported file and the pipeline."""
    arrays = {f"{name}-{i}": value for i, case in enumerate(cases) for name, value in case.items()}
    np.savez(folder / "inputs.npz", **arrays)
    run_without_t2vgan(RUN, file, folder / "inputs.npz", folder / "outputs.npz")
    with np.load(folder / "outputs.npz") as outputs:
        found = [outputs[f"arr_{index}"] for index in range(len(cases))]
    expected = [draw(pipeline, case) for case in cases]
    assert [video.shape for video in found] == [video.shape for video in expected]
    return [abs(a - b).max() for a, b in zip(found, expected, strict=True)]
