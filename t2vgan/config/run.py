"""Options of a run, including those of its data, networks and recipe."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from t2vgan.config.data import DataConfig
from t2vgan.config.model import ClipGanConfig, ModelConfig
from t2vgan.config.train import TrainConfig
from t2vgan.utils.frozen import Versioned

PUBLISHED_CLIPS = 2000  # per evaluation; with fewer, intervals are too wide to publish


class Config(Versioned):
    """All options of a run."""

    run_dir: Path = Path("runs/run")
    """Folder for everything this run writes; repeating the command resumes the run."""
    init_from: str | None = None
    """Initial weights of a new run: a run folder (with its discriminator), a weights file, or the
    name of shipped weights. Words of the data are added to the vocabulary."""
    data: DataConfig = DataConfig()
    """The shards."""
    model: ModelConfig = ClipGanConfig()
    """The networks."""
    train: TrainConfig = TrainConfig()
    """The recipe."""
    log_every_steps: PositiveInt = 20
    """Interval in steps between records of metrics."""
    sample_every_steps: NonNegativeInt = 200
    """Interval in steps between sample grids of fixed prompts and latents; 0: none."""
    evaluate_every_steps: NonNegativeInt = 200
    """Interval in steps between evaluations; 0: none."""
    evaluate_num_clips: PositiveInt = 380
    """Clips per evaluation, spread over all prompts, or over a selection if there are more."""
    save_every_steps: PositiveInt = 400
    """Interval in steps between checkpoints."""
    keep_checkpoints: Annotated[int, Field(ge=2)] = 2
    """Number of newest checkpoints to keep, besides the best one by the evaluation."""
    tracking: Literal["none", "wandb", "tensorboard"] = "none"
    """Where metrics, films and tables are logged besides metrics.jsonl."""
    max_bad_steps: PositiveInt = 20
    """Stop after this many consecutive steps with a nonfinite loss or gradient."""
    check_ranks_every_steps: NonNegativeInt = 100
    """Interval in steps for comparing the networks over processes, besides each save; 0: none."""
    timeout_seconds: PositiveInt = 300
    """Longest wait for another process; until the first step is done it is half an hour."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile both networks with torch.compile. auto: on a GPU, if a compiler is installed; a
    resumed run stays as it was."""
    cuda_graphs: Literal["auto", "on", "off"] = "auto"
    """Replay steps as CUDA graphs instead of launching kernels one by one. auto: on a GPU, except
    in float16 or if a step cannot be captured."""
    num_cpu_threads: NonNegativeInt = 0
    """Threads per process for arithmetic on a CPU; 0: the cores are divided among processes."""

    def redacted(self) -> "Config":
        """Return the config to be recorded, without passwords in URLs."""
        return self.model_copy(update={"data": self.data.redacted()})

    @model_validator(mode="before")
    @classmethod
    def drop_fresh_latents(cls, fields: Any) -> Any:
        """Drop a retired option if it agrees with the model's kind."""
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
                    f" model.max_phrases = {model.max_phrases}: each phrase has the same number"
                )
            if model.motion_channels and train.frames_per_clip < 2:
                raise ValueError(
                    f"model.motion_channels={model.motion_channels} compares successive frames, but"
                    f" train.frames_per_clip={train.frames_per_clip}; use"
                    " --train.frames-per-clip 2 or more"
                )
            return self
        for name, required, reason in (
            ("mismatched_weight", 0, "reads no prompts"),
            ("recovered_latents", 0, "reads no latents"),
            ("mode_seeking_weight", 0, "sees one clip of each prompt"),
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
