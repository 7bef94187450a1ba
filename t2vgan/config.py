"""What a run is: frozen, validated settings. Every field is also a `--section.field` option."""

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from t2vgan.errors import UserError
from t2vgan.utils.urls import as_location

Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Frozen(BaseModel):
    """A model that cannot change after it was checked, and that knows no unnamed fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DataConfig(Frozen):
    """Which shards, and in what order."""

    path: Annotated[str, BeforeValidator(as_location)] = "data/circles"
    """Folder of shards with a manifest.json (python -m data_tools.build_shards makes one), or its
    URL, such as s3://bucket/folder."""
    mix: tuple[str, ...] = ()
    """Instead of `path`, several of them, each with its share of the clips shown:
    data/cats=3 s3://bucket/dogs=1."""
    cache_path: Path | None = None
    """Folder on this machine's disk for shards read from a URL; by default ~/.cache/t2vgan/shards.
    Runs and processes may share one."""
    cache_gigabytes: Rate = 20.0
    """Most that the cache takes; the least recently used shards go."""
    num_streams: Positive = 8
    """Streams that the data is cut into; world size divides it, it divides the global batch."""
    shuffle_window: Positive = 256
    """Samples of a stream that are shuffled together."""
    num_threads: Positive = 1
    """Threads per process that decode clips; never changes the order."""
    verify_checksums: bool = True
    """Compare each shard with its SHA-256 when it is first opened."""
    max_bad_fraction: Fraction = 0.01
    """Stop when more than this share of the clips shown could not be read or decoded."""
    read_timeout_seconds: Positive = 300
    """A read that takes longer counts as damage of its shard."""
    max_words: Annotated[int, Field(ge=2)] = 20_000
    """Words told apart, the most frequent ones; all others count as one unknown word."""

    @property
    def name(self) -> str:
        """What messages call the data."""
        return " + ".join(self.mix) or self.path

    @model_validator(mode="after")
    def check_mix(self) -> "DataConfig":
        parse_mix(self.mix)
        return self


def parse_mix(entries: tuple[str, ...]) -> dict[str, Decimal]:
    """Return path or URL -> weight of `data.mix`; ValueError says what an entry must look like."""
    weights = {}
    for entry in entries:
        path, _, number = entry.rpartition("=")
        if not path or not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", number):
            raise ValueError(
                f"data.mix {entry!r} must be PATH=WEIGHT, such as data/cats=3 or =0.25"
            )
        if not 0 < (weight := Decimal(number)) <= 1000:
            raise ValueError(f"data.mix {entry!r}: a weight must be 0.001 to 1000")
        if path in weights:
            raise ValueError(f"data.mix names {path} twice; add up its weights")
        weights[path] = weight
    return weights


class Options(Frozen):
    """Settings of which earlier versions had more: those are ignored where they were off."""

    RETIRED: ClassVar[Mapping[str, Any]] = {}
    """Option that is gone -> the value that did nothing."""

    @model_validator(mode="before")
    @classmethod
    def leave_out_retired(cls, fields: Any) -> Any:
        """Let runs and weights of earlier versions go on that did without."""
        if not isinstance(fields, dict):
            return fields
        retired = cls.RETIRED
        return {k: v for k, v in fields.items() if k not in retired or v != retired[k]}


class ClipGanConfig(Options):
    """Our network: one latent per clip, time as an input, the prompt in every head."""

    RETIRED = {"steady_look": False, "discriminator_reads_prompts": True}
    shares_latents: ClassVar[bool] = False
    """Whether a step's two updates see fakes of the same latents."""

    kind: Literal["clip_gan"] = "clip_gan"
    """Which network this is."""
    latent_size: Positive = 32
    """Random numbers per clip."""
    text_size: Positive = 64
    """Width of a prompt's embedding."""
    text_encoder: Literal["bag", "transformer"] = "bag"
    """bag: a sum of words, fast to learn; transformer: where the order of the words matters."""
    pooled_features: bool = False
    """The discriminator also looks for what may be anywhere in a frame, such as a shape."""
    hidden_size: Positive = 192
    """Width of the code that describes one frame."""
    channels: Positive = 16
    """Feature maps on the finest grid; the two coarser grids have twice and four times as many."""
    num_references: Positive = 2
    """Moving frames of reference that the generator draws in, one per object at least, where it has
    no sprites."""
    patch_size: Annotated[int, Field(ge=1, le=16)] = 4
    """Pixels per side of a patch; height and width must be multiples of four patches."""
    num_sprites: Annotated[int, Field(ge=0, le=16)] = 0
    """Pictures that a clip draws once and time only moves, over a plain ground: one per object. 0:
    every frame is drawn anew, in frames of reference."""
    camera_variation: Annotated[float, Field(ge=0, le=1)] = 0.0
    """What a clip's first three latents do to all its sprites: std of their zoom's logarithm and of
    their pan in half frames. It rises from 0 as the learning rates fall; 0: no camera."""
    pixel_channels: NonNegative = 0
    """Feature maps at full resolution, for what is finer than a patch; 0: no such layers."""

    @model_validator(mode="after")
    def check_camera(self) -> "ClipGanConfig":
        if self.camera_variation and not self.num_sprites:
            raise ValueError(
                f"model.camera_variation={self.camera_variation} moves sprites, but"
                " model.num_sprites=0; use --model.num-sprites 1, or --model.camera-variation 0"
            )
        if self.camera_variation and self.latent_size < 3:
            raise ValueError(
                f"model.camera_variation={self.camera_variation} takes 3 latents, more than"
                f" model.latent_size={self.latent_size}; use --model.camera-variation 0"
            )
        return self


class NotebookGanConfig(Frozen):
    """The published notebook's networks: 64x64, single frames, text in the generator only."""

    shares_latents: ClassVar[bool] = True

    kind: Literal["notebook_gan"] = "notebook_gan"
    """Which network this is."""


ModelConfig = Annotated[ClipGanConfig | NotebookGanConfig, Field(discriminator="kind")]


class TrainConfig(Options):
    """The recipe: losses, optimizers and schedules. One step is one update of each network."""

    RETIRED = {"look_latents": 0, "spread_weight": 0}

    seed: NonNegative = 0
    """Everything random in a run derives from it."""
    num_steps: Positive = 4000
    """Length of the run; schedules run from 0 to 1 over it."""
    global_batch_size: Positive = 16
    """Clips per update over all processes."""
    micro_batch_size: NonNegative = 0
    """Clips per process per backward pass; 0 takes the process's whole share at once."""
    frames_per_clip: Positive = 4
    """Frames of each clip shown per step, drawn at random and sorted (StyleGAN-V, section 3.2)."""
    loss: Literal["relativistic", "non_saturating", "bce"] = "relativistic"
    """relativistic: R3GAN's pairing; non_saturating: softplus; bce: the notebook's."""
    mismatched_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of telling a real clip's prompt from another prompt of the data; 0 leaves it out."""
    hard_mismatched_share: Fraction = 0.0
    """Share of those other prompts that differ from the clip's in a single word, where some do."""
    recovered_latents: NonNegative = 8
    """Of each fake's latents, how many the discriminator learns to read back; 0 leaves it out."""
    recovery_weight: Annotated[float, Field(ge=0)] = 3.0
    """Final weight of that reading, for both networks: what keeps clips of one prompt different.
    It rises from 0 as the learning rates fall: first the prompts, then the variety."""
    fresh_latents: bool = True
    """Draw new latents for the generator's update instead of those of the discriminator's."""
    generator_lr: Rate = 2e-3
    """Adam's learning rate for the generator at the start."""
    discriminator_lr: Rate = 1e-3
    """Adam's learning rate for the discriminator at the start; half the generator's is stable."""
    lr_hold: Fraction = 0.4
    """Share of the run before the learning rates start their cosine fall."""
    lr_final: Fraction = 0.05
    """Final learning rates over the first ones."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Adam's decay of the mean gradient."""
    beta2_start: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Adam's decay of the mean squared gradient at the start; small, since after a quiet spell a
    sudden gradient makes a step of up to lr / sqrt(1 - beta2)."""
    beta2_end: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """The same at the end; a cosine between, as in R3GAN."""
    gradient_clip: Annotated[float, Field(ge=0)] = 4.0
    """Scale a network's gradient down to so many times its usual norm: the root mean square of the
    last ones, over as many as Adam remembers; 0 never. At least the root of `penalty_every_steps`,
    or it weakens a penalty that comes only in some steps."""
    penalty_every_steps: NonNegative = 8
    """Apply R1 and R2 every so many steps, weighted by that number; 0 never."""
    gamma_start: Annotated[float, Field(ge=0)] = 10.0
    """Weight of R1 and R2 at the start."""
    gamma_end: Annotated[float, Field(ge=0)] = 2.0
    """Weight of R1 and R2 from `gamma_until` on; log-linear before."""
    gamma_until: Fraction = 0.7
    """Share of the run after which gamma is constant."""
    ema_halflife_clips: Rate = 5_000.0
    """Clips after which a weight's share in the averaged generator has halved."""
    ema_rampup: Annotated[float, Field(ge=0)] = 0.1
    """The half-life is at most this share of the clips seen so far; 0 switches the ramp off."""
    precision: Literal["auto", "bf16", "fp16", "no"] = "auto"
    """auto: bfloat16 where the device is fast in it, else float32 (float16 on older GPUs)."""

    @model_validator(mode="after")
    def check_gamma(self) -> "TrainConfig":
        if self.penalty_every_steps and not (self.gamma_start > 0 and self.gamma_end > 0):
            raise ValueError(
                f"train.gamma_start={self.gamma_start} and train.gamma_end={self.gamma_end} must be"
                " positive; use --train.penalty-every-steps 0 for no penalty"
            )
        return self


class Config(Frozen):
    """A whole run."""

    run_dir: Path = Path("runs/run")
    """Folder of everything this run writes; the same command again resumes it."""
    data: DataConfig = DataConfig()
    """The shards."""
    model: ModelConfig = ClipGanConfig()
    """The networks."""
    train: TrainConfig = TrainConfig()
    """The recipe."""
    log_every_steps: Positive = 20
    """Steps between two lines of metrics."""
    sample_every_steps: NonNegative = 200
    """Steps between two grids of fixed prompts and latents; 0 never."""
    evaluate_every_steps: NonNegative = 200
    """Steps between two readings of the meter; 0 never."""
    evaluate_num_clips: Positive = 380
    """Clips in such a reading, dealt to all prompts; to a choice where these are more."""
    save_every_steps: Positive = 400
    """Steps between two checkpoints."""
    keep_checkpoints: Annotated[int, Field(ge=2)] = 2
    """Newest checkpoints to keep; the best one by the meter is kept besides."""
    tracking: Literal["none", "wandb", "tensorboard"] = "none"
    """Where metrics, films and tables go besides metrics.jsonl."""
    max_bad_steps: Positive = 20
    """Stop after so many steps in a row with a loss or gradient that is not finite."""
    check_ranks_every_steps: NonNegative = 100
    """Steps between two comparisons of the networks over processes, besides each save; 0 none."""
    timeout_seconds: Positive = 300
    """Longest wait for another process: to come, and after the first step (it has half an hour)."""
    num_cpu_threads: NonNegative = 0
    """Threads per process for arithmetic on a CPU; 0 shares the cores among the processes."""

    @model_validator(mode="after")
    def check_mismatched(self) -> "Config":
        if self.model.kind == "notebook_gan" and self.train.mismatched_weight:
            raise ValueError(
                f"train.mismatched_weight={self.train.mismatched_weight} must be 0 with the"
                " notebook's discriminator, which reads no prompts"
            )
        return self


def check_batch_arithmetic(config: Config, world_size: int) -> int:
    """Return the clips per process per backward pass.

    Raises:
        UserError: world size, streams and batch sizes do not divide; the arithmetic is shown.
    """
    streams, batch = config.data.num_streams, config.train.global_batch_size
    if streams % world_size:
        raise UserError(
            f"data.num_streams={streams} must be a multiple of world_size={world_size}"
            f" ({streams} = {streams // world_size} * {world_size} + {streams % world_size});"
            f" try --data.num-streams {_multiple(streams, world_size)}"
        )
    if batch % streams:
        raise UserError(
            f"train.global_batch_size={batch} must be a multiple of data.num_streams={streams}"
            f" ({batch} = {batch // streams} * {streams} + {batch % streams});"
            f" try --train.global-batch-size {_multiple(batch, streams)}"
        )
    local = batch // world_size
    micro = config.train.micro_batch_size or local
    if local % micro:
        raise UserError(
            f"train.global_batch_size={batch} must be a multiple of world_size *"
            f" micro_batch_size = {world_size} * {micro} = {world_size * micro}"
        )
    return micro


def check_frames(config: Config, num_frames: int) -> None:
    """Raise UserError if more frames are asked for than the data's clips have."""
    if config.train.frames_per_clip > num_frames:
        raise UserError(
            f"train.frames_per_clip={config.train.frames_per_clip} must be at most the"
            f" {num_frames} frames of the clips in {config.data.name}"
        )


def _multiple(value: int, factor: int) -> int:
    return max(1, value // factor) * factor


def load_config(path: Path) -> Config:
    """Read a run's config.json."""
    try:
        return Config.model_validate_json(path.read_text())
    except ValidationError as error:
        raise UserError(f"{path}: {one_line(error)}; start a new --run-dir") from error


def one_line(error: ValidationError, section: str = "") -> str:
    """Say in one line which fields failed, with the value given and the rule."""
    faults = []
    for fault in error.errors():
        names = [section, *fault["loc"]] if section and fault["loc"] else fault["loc"]
        field = ".".join(map(str, names))
        message = fault["msg"].removeprefix("Value error, ").replace("Input should", "must")
        given = "" if isinstance(fault["input"], dict) or not field else f"={fault['input']!r}"
        faults.append(f"{field}{given}: {message}" if field else message)
    return "; ".join(faults)


def flatten(config: Frozen, prefix: str = "") -> dict[str, Any]:
    """Return {"section.field": value} for every field, as written on the command line."""
    flat: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, Frozen):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
