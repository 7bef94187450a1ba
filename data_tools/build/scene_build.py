"""Plan a build of rendered scenes."""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pydantic import JsonValue

from t2vgan.data.shards import EncodedSample, Geometry, encode_sample
from t2vgan.prompts.paraphrases import write_paraphrase
from t2vgan.utils.seeds import random_generator

from ..scenes.base import FPS
from .protocol import (
    BuildHeader,
    BuildStopped,
    BuiltShard,
    ShouldStop,
    build_shard,
)

NUMBERS_PER_PARAPHRASE = 6
CLIPS_PER_RENDER = 100  # amortizes the overhead of NumPy, or of loading a game's levels


@dataclass(frozen=True)
class BuildPlan:
    """The arguments that determine a data set's bytes."""

    scene: str
    num_clips: int
    clips_per_shard: int
    geometry: Geometry
    seed: int
    paraphrases: int = 0
    """Number of additional captions per clip, in other words."""
    unit = "clips"

    @property
    def module(self) -> ModuleType:
        """The scene's module."""
        return importlib.import_module(f"..scenes.{self.scene.replace('-', '_')}", __package__)

    @property
    def fps(self) -> float:
        """The scene's frames per second."""
        return getattr(self.module, "FPS", FPS)

    @property
    def header(self) -> BuildHeader:
        """The header, with arguments named as on the command line."""
        return BuildHeader(
            builder=self.scene,
            builder_version=self.module.VERSION,
            builder_config={
                "num_clips": self.num_clips,
                "clips_per_shard": self.clips_per_shard,
                "num_frames": self.geometry.num_frames,
                "size": f"{self.geometry.height}x{self.geometry.width}",
                "seed": self.seed,
                **({"paraphrases": self.paraphrases} if self.paraphrases else {}),
            },
            geometry=self.geometry,
            fps=self.fps,
            num_shards=-(-self.num_clips // self.clips_per_shard),
            held_out_prompts=tuple(self.module.HELD_OUT_PROMPTS),
            prompt_order=tuple(self.module.PROMPTS),
        )

    def shard_name(self, index: int) -> str:
        """Return the file name of a shard."""
        return f"{self.scene}-{index:05d}.tar"

    def clip_indexes(self, index: int) -> range:
        """Return the clips of a shard; the last shard may hold fewer."""
        first = index * self.clips_per_shard
        return range(self.num_clips)[first : first + self.clips_per_shard]

    def size_of(self, index: int) -> int:
        """Return the number of clips of a shard."""
        return len(self.clip_indexes(index))

    def job(self, index: int) -> "SceneShard":
        """Return the job that makes one shard."""
        return SceneShard(self, index)


@dataclass(frozen=True)
class SceneShard:
    """The job that makes one shard of a scene."""

    plan: BuildPlan
    index: int

    @property
    def name(self) -> str:
        """The shard's file name."""
        return self.plan.shard_name(self.index)

    def run(self, folder: Path, should_stop: ShouldStop) -> BuiltShard:
        """Render, encode and write the shard; see `ShardJob`."""
        return build_shard(folder / self.name, self.index, self._samples(should_stop))

    def _samples(self, should_stop: ShouldStop) -> Iterator[EncodedSample]:
        plan = self.plan
        indexes = plan.clip_indexes(self.index)
        common = {**plan.geometry.model_dump(), "fps": plan.fps, "source": plan.scene}
        for start in range(0, len(indexes), CLIPS_PER_RENDER):
            if should_stop():
                raise BuildStopped
            chunk = indexes[start : start + CLIPS_PER_RENDER]
            clips = plan.module.render_clips(chunk, plan.seed, plan.geometry)
            for clip, frames, prompt, attributes in zip(
                chunk, clips.frames, clips.prompts, clips.attributes, strict=True
            ):
                captions, label = [prompt], {}
                if plan.paraphrases:
                    composition = name_composition(attributes)
                    captions += write_paraphrases(plan, clip, composition)
                    label = {"label": " ".join(composition.values())}
                metadata = {**common, **attributes, **label}
                distinct = list(dict.fromkeys(captions))
                yield encode_sample(f"{clip:08d}", frames, distinct, metadata)


def name_composition(attributes: Mapping[str, JsonValue]) -> dict[str, str]:
    """Return the attributes in a clip's prompt: size, colour, shape, motion."""
    named = {"shape": "circle", **{name: str(value) for name, value in attributes.items()}}
    named["motion"] = named["motion"].replace("moving diagonally", "moving")
    return {name: named[name] for name in ("size", "colour", "shape", "motion") if name in named}


def write_paraphrases(plan: BuildPlan, clip: int, composition: Mapping[str, str]) -> list[str]:
    """Write the additional captions of a clip, from plan and index only."""
    numbers = random_generator(plan.seed, "paraphrases", plan.scene, clip)
    rows = numbers.random((plan.paraphrases, NUMBERS_PER_PARAPHRASE)).tolist()
    return [write_paraphrase(composition, row) for row in rows]
