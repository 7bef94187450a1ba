"""The whole protocol: generated clips, real clips as the ceiling, and controls that must fail."""

import itertools
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from tqdm import tqdm

import t2vgan
from t2vgan.config import Frozen
from t2vgan.errors import UserError
from t2vgan.evaluation.prompts import check_prompts, deal_prompts, expected_objects
from t2vgan.evaluation.scores import (
    Interval,
    RelativeToReal,
    Scores,
    compare,
    score_track,
)
from t2vgan.evaluation.trackers import tracker_of
from t2vgan.evaluation.tracking import Track, join
from t2vgan.files import sha256_of
from t2vgan.run_folder import git_commit
from t2vgan.sampling import LoadedGenerator, generate_clips, load_generator
from t2vgan.seeds import derive_seed, permutation, random_generator
from t2vgan.shards import Manifest, check_shards, decode_sample, load_manifest, read_samples
from t2vgan.text import tokenize
from t2vgan.weights import find_weights

PROTOCOL_VERSION = "attributes-2"
MIN_CLIPS = 100  # or one a prompt, where prompts are fewer
CLIPS_AT_ONCE = 128  # frames in memory; tracks are small
BATCH_SIZE = 16
SLOW_SECONDS = 2.0  # work that takes longer shows its progress


class Protocol(Frozen):
    """How the numbers came about: enough to repeat them."""

    version: str = PROTOCOL_VERSION
    weights_sha256: str
    weights_step: int
    weights_clips_seen: int
    dataset_builder: str
    dataset_fingerprint: str
    num_clips: int
    """Generated clips, dealt to the prompts in turn."""
    num_held_out_clips: int
    """Those of them whose prompt the weights were not trained on."""
    num_real_clips: int
    """Real clips: the first of the data folder, as many as generated ones if it has them."""
    num_frames: int
    height: int
    width: int
    seed: int
    """Clip i is drawn from the seed derived from (seed, "evaluation", i)."""
    device: str
    torch_version: str = str(torch.__version__)
    t2vgan_version: str = t2vgan.__version__
    git_commit: str | None = Field(default_factory=git_commit)
    duration_seconds: float


class Control(Frozen):
    """The accuracy of real clips after something was destroyed."""

    accuracy: float | None
    accuracy_interval: Interval | None


class Controls(Frozen):
    """What the meter says where it must not say "right"; all on real clips."""

    chance: float
    """Expected accuracy when prompts are dealt to clips at random."""
    shuffled_prompts: Control
    shuffled_frames: Control


class Evaluation(Frozen):
    """Everything `python -m t2vgan.evaluation` writes."""

    protocol: Protocol
    generated: Scores
    relative_to_real: RelativeToReal
    ceiling: Scores
    """The same scores of real clips."""
    controls: Controls


def evaluate(
    weights: Path | str, data: Path | str, *, num_clips: int, seed: int = 0, device: str = "auto"
) -> Evaluation:
    """Generate `num_clips` clips and score them beside the real clips of a data folder.

    `deal_prompts` says which clip shows which prompt. Held out means: the weights were not trained
    on it. Raises UserError for weights and data that do not fit each other, prompts that
    the meter does not know, and too few clips.
    """
    start = time.monotonic()
    manifest = load_manifest(data)
    check_shards(data, manifest)
    file = find_weights(weights)
    sha256 = sha256_of(file)  # now: a running training may replace the file
    target = _find_device(device)
    loaded = load_generator(file, device=target)
    prompts = [*manifest.prompts, *manifest.held_out_prompts]
    check_fit(loaded, manifest, prompts)
    if num_clips < (fewest := min(len(prompts), MIN_CLIPS)):
        raise UserError(f"num_clips={num_clips} must be at least {fewest}")

    trained_on = set(loaded.info.prompts)
    held_out = [prompt for prompt in prompts if prompt not in trained_on]
    dealt = deal_prompts(list(manifest.prompts), manifest.held_out_prompts, num_clips, seed=seed)
    generated = score_track(_track_generated(loaded, dealt, seed), dealt, held_out)
    real_track, real_prompts = _track_real(data, manifest, num_clips)
    ceiling = score_track(real_track, real_prompts)
    return Evaluation(
        protocol=Protocol(
            weights_sha256=sha256,
            weights_step=loaded.info.step,
            weights_clips_seen=loaded.info.clips_seen,
            dataset_builder=manifest.builder,
            dataset_fingerprint=manifest.fingerprint,
            num_clips=num_clips,
            num_held_out_clips=sum(prompt not in trained_on for prompt in dealt),
            num_real_clips=len(real_prompts),
            **manifest.geometry.model_dump(),
            seed=seed,
            device=_describe(target),
            duration_seconds=round(time.monotonic() - start, 2),
        ),
        generated=generated,
        relative_to_real=compare(generated, ceiling),
        ceiling=ceiling,
        controls=measure_controls(real_track, real_prompts, seed),
    )


def score_real_clips(data: Path | str, manifest: Manifest, num_clips: int) -> Scores:
    """Score the first real clips of a data folder: what generated ones are compared with."""
    return score_track(*_track_real(data, manifest, num_clips))


def measure_controls(track: Track, prompts: Sequence[str], seed: int) -> Controls:
    """Score clips with the prompts, and then with the frames of each clip, in random order."""
    order = permutation(len(prompts), seed, "shuffled prompts")
    frame_order = random_generator(seed, "shuffled frames").random(track.x.shape).argsort(axis=1)
    asked = [_content(prompt) for prompt in prompts]
    shares = [count / len(asked) for count in Counter(asked).values()]
    return Controls(
        chance=sum(share**2 for share in shares),
        shuffled_prompts=_control(track, [prompts[index] for index in order]),
        shuffled_frames=_control(track.reorder_frames(frame_order), prompts),
    )


def _content(prompt: str) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Return what a prompt asks for, whatever its words and the order of its objects."""
    return tuple(sorted(tuple(sorted(asked.items())) for asked in expected_objects(prompt) or ()))


def check_fit(loaded: LoadedGenerator, manifest: Manifest, prompts: Sequence[str]) -> None:
    """Raise UserError unless the weights can make clips like the data's and the meter read them."""
    check_prompts(prompts)
    ours = {name: getattr(loaded.info, name) for name in ("num_frames", "height", "width")}
    theirs = manifest.geometry.model_dump()
    if ours != theirs:
        raise UserError(
            f"the weights make clips of {_geometry(ours)}, the data has {_geometry(theirs)} "
            "(frames x height x width): evaluate on data of the weights' geometry"
        )
    words = {word for prompt in prompts for word in tokenize(prompt)}
    if unknown := sorted(words - set(loaded.vocabulary.words)):
        raise UserError(
            f"the weights do not know the words {', '.join(unknown)} of the data's prompts: "
            "evaluate on data of the scene they were trained on"
        )


def _geometry(sizes: dict[str, int]) -> str:
    return "{num_frames}x{height}x{width}".format(**sizes)


def _control(track: Track, prompts: Sequence[str]) -> Control:
    scores = score_track(track, prompts)
    return Control(accuracy=scores.accuracy, accuracy_interval=scores.accuracy_interval)


def _find_device(name: str) -> torch.device:
    try:
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device={name}: not usable here ({reason}); give auto or cpu") from None
    return device


def _describe(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _track_generated(loaded: LoadedGenerator, prompts: Sequence[str], seed: int) -> Track:
    seeds = [derive_seed(seed, "evaluation", index) for index in range(len(prompts))]
    tracks, track = [], tracker_of(prompts)
    with tqdm(total=len(prompts), desc="generate", unit="clip", delay=SLOW_SECONDS) as progress:
        for start in range(0, len(prompts), CLIPS_AT_ONCE):
            chunk = slice(start, start + CLIPS_AT_ONCE)
            frames = generate_clips(
                loaded.generator,
                loaded.vocabulary,
                prompts[chunk],
                seeds[chunk],
                num_frames=loaded.info.num_frames,
                batch_size=BATCH_SIZE,
            )
            tracks.append(track(frames))
            progress.update(len(frames))
    return join(tracks)


def _track_real(data: Path | str, manifest: Manifest, num_clips: int) -> tuple[Track, list[str]]:
    tracks: list[Track] = []
    prompts: list[str] = []
    track = tracker_of(manifest.prompts)
    total = min(num_clips, manifest.num_samples)
    clips = itertools.islice(_read_clips(data, manifest), total)
    with tqdm(total=total, desc="real clips", unit="clip", delay=SLOW_SECONDS) as progress:
        while chunk := list(itertools.islice(clips, CLIPS_AT_ONCE)):
            tracks.append(track(np.stack([frames for frames, _ in chunk])))
            prompts += [prompt for _, prompt in chunk]
            progress.update(len(chunk))
    return join(tracks), prompts


def _read_clips(data: Path | str, manifest: Manifest) -> Iterator[tuple[np.ndarray, str]]:
    """Yield the frames (T, H, W, 3) and the prompt of every clip of a data folder, in order."""
    for shard in manifest.shards:
        for sample in read_samples(Path(data) / shard.name):
            try:
                yield decode_sample(sample, manifest.geometry)
            except ValueError as error:
                raise UserError(f"{data}/{shard.name}: sample {sample.key}: {error}") from None
