"""What a build makes: which clips go into which shard, and every argument they depend on."""

import importlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pydantic import JsonValue

from data_tools.scenes import FPS
from t2vgan.shards import (
    EncodedSample,
    Geometry,
    Manifest,
    ShardEntry,
    encode_sample,
    fingerprint,
    write_shard,
)

CLIPS_PER_RENDER = 64  # spreads NumPy's overhead; more gains nothing


class BuildStopped(Exception):  # noqa: N818 (a request, not an error)
    """The build was interrupted inside a shard."""


@dataclass(frozen=True)
class BuildPlan:
    """The arguments that decide the bytes of a data set. Workers are not among them."""

    scene: str
    num_clips: int
    clips_per_shard: int
    geometry: Geometry
    seed: int

    @property
    def module(self) -> ModuleType:
        """The scene's module."""
        return importlib.import_module(f"data_tools.scenes.{self.scene}")

    @property
    def config(self) -> dict[str, JsonValue]:
        """The arguments by the names they have on the command line."""
        return {
            "num_clips": self.num_clips,
            "clips_per_shard": self.clips_per_shard,
            "num_frames": self.geometry.num_frames,
            "size": f"{self.geometry.height}x{self.geometry.width}",
            "seed": self.seed,
        }

    @property
    def identity(self) -> dict[str, JsonValue]:
        """Everything that two builds into one folder must have in common."""
        return {"scene": self.scene, "scene_version": self.module.VERSION, **self.config}

    @property
    def num_shards(self) -> int:
        """The number of shards; the last may be shorter."""
        return -(-self.num_clips // self.clips_per_shard)

    def shard_name(self, index: int) -> str:
        """Return the file name of a shard."""
        return f"{self.scene}-{index:05d}.tar"

    def clip_indexes(self, index: int) -> range:
        """Return the clips of a shard."""
        first = index * self.clips_per_shard
        return range(first, min(first + self.clips_per_shard, self.num_clips))


def build_shard(
    plan: BuildPlan, folder: Path, index: int, should_stop: Callable[[], bool]
) -> ShardEntry:
    """Render, encode and write one shard; raise BuildStopped, leaving nothing, when asked to."""
    return write_shard(folder / plan.shard_name(index), _samples(plan, index, should_stop))


def _samples(
    plan: BuildPlan, index: int, should_stop: Callable[[], bool]
) -> Iterator[EncodedSample]:
    indexes = plan.clip_indexes(index)
    common = {**plan.geometry.model_dump(), "fps": FPS, "source": plan.scene}
    for start in range(0, len(indexes), CLIPS_PER_RENDER):
        if should_stop():
            raise BuildStopped
        chunk = indexes[start : start + CLIPS_PER_RENDER]
        clips = plan.module.render_clips(chunk, plan.seed, plan.geometry)
        for clip, frames, prompt, attributes in zip(
            chunk, clips.frames, clips.prompts, clips.attributes, strict=True
        ):
            yield encode_sample(f"{clip:08d}", frames, prompt, {**common, **attributes})


def make_manifest(plan: BuildPlan, entries: dict[str, ShardEntry]) -> Manifest:
    """Return the manifest of a finished build from its entries by shard name."""
    scene = plan.module
    prompt_ids = scene.draw_prompt_ids(range(plan.num_clips), plan.seed)
    counts = Counter(prompt_ids.tolist())
    return Manifest(
        builder=plan.scene,
        builder_version=scene.VERSION,
        builder_config=plan.config,
        builder_fingerprint=fingerprint(plan.identity),
        geometry=plan.geometry,
        fps=FPS,
        shards=tuple(entries[plan.shard_name(i)] for i in range(plan.num_shards)),
        prompts={prompt: counts[i] for i, prompt in enumerate(scene.PROMPTS) if counts[i]},
        held_out_prompts=scene.HELD_OUT_PROMPTS,
    )
