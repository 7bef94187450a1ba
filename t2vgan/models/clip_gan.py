"""The clip GAN's generator: one latent per clip, time as an input.

All frames of a clip share its latent, and time is an input, so any frame can be drawn without the
others, and a training step needs only a few frames of a clip (StyleGAN-V, Skorokhodov et al.,
CVPR 2022, section 3). Frames are output as patches, so that nearly all arithmetic is on grids
coarser than the pixels. There is no tanh at the end: white is exactly +1, where tanh saturates and
its gradient vanishes.

With sprites, the generator draws the objects once per clip and only places them in each frame; with
several phrases, it does so for each phrase of the prompt, over one background. With a scene, it
draws maps once per clip, and adds a camera's view of them to the maps of each frame.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2vgan.config import ClipGanConfig
from t2vgan.models.casting import Conv2d
from t2vgan.models.coordinates import MovingCoordinates, PlaceEmbedding
from t2vgan.models.layers import (
    NO_MEAN,
    RGB,
    UNIT_STD,
    CodeLayers,
    ResidualBlock,
    Standardizer,
    TimeFeatures,
    upsample2x,
)
from t2vgan.models.patches import Smoothing, ToPatches, ToPixels, compute_grid
from t2vgan.models.phrases import PhraseCameras, encode_phrases
from t2vgan.models.scene import Scene
from t2vgan.models.sprites import Sprites
from t2vgan.models.text_encoders import build_text_encoder
from t2vgan.models.time_spline import choose_encoded_times, interpolate_codes

NUM_REFERENCES = 2  # frames of reference, for two objects, in a model without sprites


class Generator(nn.Module):
    """Draw a video from latents, a prompt and times."""

    camera_std: Tensor | None
    """Std of the clips' camera motion, (); training raises it from 0 to `camera_variation`."""

    def __init__(
        self,
        model: ClipGanConfig,
        *,
        height: int,
        width: int,
        vocabulary_size: int,
        pixel_mean: Sequence[float] = NO_MEAN,
        pixel_std: Sequence[float] = UNIT_STD,
    ) -> None:
        super().__init__()
        self.pixels = Standardizer(pixel_mean, pixel_std)
        rows, columns = compute_grid(model.patch_size, height, width)
        channels, hidden = model.channels, model.hidden_size
        self.latent_size, self.max_phrases = model.latent_size, model.max_phrases
        variation = model.camera_variation
        self.register_buffer("camera_std", torch.tensor(variation) if variation else None)
        self.coarsest = (2 * channels, rows // 4, columns // 4)
        self.text_encoder = build_text_encoder(model, vocabulary_size=vocabulary_size)
        self.content = nn.Sequential(
            nn.Linear(model.latent_size + model.text_size, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
        )
        self.phrase_cameras = PhraseCameras(hidden) if model.max_phrases > 1 else None
        self.time_features = TimeFeatures()
        self.time = nn.Linear(self.time_features.size, hidden)
        self.frame = nn.Sequential(
            nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.layout = nn.Linear(hidden, 2 * channels * (rows // 4) * (columns // 4))
        self.coarse = ResidualBlock(2 * channels, code_size=hidden)
        self.middle = ResidualBlock(2 * channels, code_size=hidden)
        self.to_fine = Conv2d(2 * channels, channels, 1)
        self.sprites: Sprites | None = None
        self.coordinates: MovingCoordinates | None = None
        num_references, out_channels = 1, RGB
        if model.num_sprites:
            self.sprites = Sprites(
                code_size=hidden, num_sprites=model.num_sprites, height=height, width=width
            )
            out_channels = self.sprites.num_channels
        else:
            num_references = NUM_REFERENCES
            self.coordinates = MovingCoordinates(code_size=hidden, num_references=num_references)
        self.scene: Scene | None = None
        if model.scene_scale:
            self.scene = Scene(
                code_size=hidden, channels=channels, grid=(rows, columns), scale=model.scene_scale
            )
        self.place = PlaceEmbedding(
            channels, rows=rows, columns=columns, num_references=num_references
        )
        self.fine = ResidualBlock(channels, code_size=hidden)
        self.finest = ResidualBlock(channels, code_size=hidden)
        self.to_patches, self.to_pixels = build_frame_layers(
            model, (rows, columns), num_references=num_references, out_channels=out_channels
        )
        self.by_code = CodeLayers(self.layout, *self._list_code_layers())

    def _list_code_layers(self) -> tuple[list[nn.Linear], list[nn.Linear]]:
        """List the layers of a frame's code: modulating and placing ones."""
        blocks = [self.coarse, self.middle, self.fine, self.finest]
        placing = []
        if self.to_pixels is not None:
            blocks.append(self.to_pixels.block)
        if self.coordinates is not None:
            placing.append(self.coordinates.to_reference)
        if self.scene is not None:
            placing += [self.scene.to_camera, self.scene.to_warp]
        return [block.modulation for block in blocks], placing

    def latent_shape(self, num_frames: int) -> tuple[int, ...]:
        """Return the shape of one clip's latents.

        With P phrases, latent i belongs to phrase i mod P.
        """
        return (self.latent_size * self.max_phrases,)

    def forward(
        self,
        latents: Tensor,
        token_ids: Tensor,
        token_mask: Tensor,
        times: Tensor,
        trained_frames: int | None = None,
    ) -> Tensor:
        """Draw K frames of each clip at its times.

        latents (B, Z), token_ids (B, L), token_mask (B, L), times (B, K) -> video (B, 3, K, H, W).
        `trained_frames`, the clip length of the training data, is needed to draw other times.
        """
        text = self.encode_text(token_ids, token_mask)
        return self.draw_video(latents, text, times, trained_frames)

    def encode_text(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """Encode token_ids (B, L), token_mask (B, L): text codes (B, E).

        With P phrases, the P codes of a prompt are concatenated.
        """
        with torch.autocast(token_ids.device.type, enabled=False):  # bfloat16: jitter
            if self.max_phrases == 1:
                return self.text_encoder(token_ids, token_mask)
            return encode_phrases(
                self.text_encoder, token_ids, token_mask, self.max_phrases
            ).flatten(1)

    def draw_video(
        self, latents: Tensor, text: Tensor, times: Tensor, trained_frames: int | None = None
    ) -> Tensor:
        """Draw K frames of each clip from its latents and text code.

        latents (B, Z), text (B, E), times (B, K) -> video (B, 3, K, H, W); see `forward`.
        """
        is_present: Tensor | None = None
        if self.max_phrases > 1:  # from here on the batch size B is clips * phrases
            text = text.unflatten(1, (self.max_phrases, -1))  # B P E
            is_present = text.any(2)  # B P
            latents = latents.unflatten(1, (-1, self.max_phrases)).transpose(1, 2).flatten(0, 1)
            text, times = text.flatten(0, 1), times.repeat_interleave(self.max_phrases, dim=0)
        with torch.autocast(latents.device.type, enabled=False):  # bfloat16: jitter
            content = self.content(torch.cat([latents, text], dim=1))  # B hidden
            encoded = choose_encoded_times(times, trained_frames)
            codes, appearance = self.encode_frames(content, encoded)  # B T hidden, B hidden
            code = interpolate_codes(codes, times, trained_frames).flatten(0, 1)  # (B K) hidden
        if self.sprites is None:
            return self.pixels.restore(self.draw(code, appearance, times))
        drawing = self.draw(appearance, appearance, times[:, :1]).squeeze(2)  # B 4R H W
        camera = None if self.camera_std is None else self.camera_std * latents[:, :3]  # B 3
        if self.phrase_cameras is not None and is_present is not None:
            with torch.autocast(latents.device.type, enabled=False):
                moved = self.phrase_cameras(content.unflatten(0, is_present.shape), is_present)
            camera = moved.flatten(0, 1) if camera is None else camera + moved.flatten(0, 1)
        return self.pixels.restore(
            self.sprites(drawing, code, appearance, times, camera, is_present=is_present)
        )

    def encode_frames(self, content: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Encode times (B, K), and the clip as a whole.

        content (B, hidden) -> codes (B, K, hidden), appearance (B, hidden). Appearance is simply
        `content` if nothing is drawn once per clip.
        """
        time = self.time(self.time_features(times))  # B K hidden
        own, gate = content.unsqueeze(1), content.sigmoid().unsqueeze(1)  # B 1 hidden
        frames = torch.addcmul(own, gate, time, value=2).flatten(0, 1)
        if self.sprites is None and self.scene is None:
            return self.frame(frames).unflatten(0, times.shape), content
        sizes = (frames.shape[0], content.shape[0])  # len() of an exported batch is a constant
        codes, appearance = self.frame(torch.cat([frames, content])).split(sizes)
        return codes.unflatten(0, times.shape), appearance

    def draw(self, code: Tensor, appearance: Tensor, times: Tensor) -> Tensor:
        """Draw K frames, with views of a scene if there is one.

        code (B*K, hidden), appearance (B, hidden), times (B, K) -> video (B, C, K, H, W).
        """
        layout, (coarse, middle, fine, finest, *of_pixels), placed = self.by_code(code)
        references: Tensor | None = None
        maps = layout.view(-1, *self.coarsest).contiguous(memory_format=torch.channels_last)
        maps = self.middle(upsample2x(self.coarse(maps, coarse)), middle)
        maps = upsample2x(self.to_fine(maps))  # (B K) C h w
        if self.coordinates is not None:
            references = self.coordinates(placed[0])
        if self.scene is not None:
            maps = maps + self.scene(appearance, *placed[1:], times)
        maps = self.fine(maps + self.place(references), fine)
        maps = F.silu(self.finest(maps, finest))  # (B K) C h w
        frames = self.to_patches(maps)  # (B K) C H W
        if self.to_pixels is not None:
            frames = frames + self.to_pixels(maps, references, *of_pixels)
        return frames.unflatten(0, times.shape).transpose(1, 2)


def build_frame_layers(
    model: ClipGanConfig, grid: tuple[int, int], *, num_references: int, out_channels: int
) -> tuple[ToPatches, ToPixels | None]:
    """Build the layers that draw frames from maps: patches and pixels."""
    smoothing = Smoothing(model.patch_size, grid) if model.smooth_patches else nn.Identity()
    to_patches = ToPatches(model.patch_size, model.channels, smoothing, out_channels=out_channels)
    if not model.pixel_channels:
        return to_patches, None
    to_pixels = ToPixels(
        model.patch_size,
        model.channels,
        smoothing,
        pixel_channels=model.pixel_channels,
        num_references=num_references,
        grid=grid,
        code_size=model.hidden_size,
        out_channels=out_channels,
    )
    return to_patches, to_pixels
