"""The clip GAN's generator: one latent per clip, time as an input.

All frames of a clip share its latent, and time is an input: any frame can be drawn without the
others, and a training step needs only a few frames of a clip (StyleGAN-V, Skorokhodov et al.,
CVPR 2022, section 3). Frames leave as patches, so that nearly all arithmetic is on grids coarser
than the pixels. There is no tanh at the end: white is exactly +1, where tanh saturates and its
gradient vanishes.

With sprites, the generator draws the objects once per clip and only places them in each frame; with
phrases, it does so for each phrase of the prompt, over one ground; with
a scene, it draws what the camera passes once per clip, and adds to each frame's view of it.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2vgan.config import ClipGanConfig
from t2vgan.models.casting import Conv2d, Linear
from t2vgan.models.coordinates import FixedCoordinates, MovingCoordinates, PlaceEmbedding
from t2vgan.models.layers import (
    NO_MEAN,
    RGB,
    UNIT_STD,
    PixelStatistics,
    ResidualBlock,
    TimeFeatures,
    upsample2x,
)
from t2vgan.models.patches import ToPatches, ToPixels, compute_grid
from t2vgan.models.phrases import PhraseCameras, encode_phrases
from t2vgan.models.scene import Scene
from t2vgan.models.sprites import Sprites
from t2vgan.models.text_encoders import build_text_encoder
from t2vgan.models.time_spline import encode_times

NUM_REFERENCES = 2  # for two objects, where there are no sprites


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
        self.pixels = PixelStatistics(pixel_mean, pixel_std)
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
            nn.SiLU(), Linear(hidden, hidden), nn.SiLU(), Linear(hidden, hidden), nn.SiLU()
        )
        self.layout = Linear(hidden, 2 * channels * (rows // 4) * (columns // 4))
        self.coarse = ResidualBlock(2 * channels, code_size=hidden)
        self.middle = ResidualBlock(2 * channels, code_size=hidden)
        self.to_fine = Conv2d(2 * channels, channels, 1)
        self.sprites: Sprites | None = None
        self.coordinates: FixedCoordinates | MovingCoordinates
        out_channels = RGB
        if model.num_sprites:
            self.sprites = Sprites(
                code_size=hidden, num_sprites=model.num_sprites, height=height, width=width
            )
            self.coordinates = FixedCoordinates()
            out_channels = self.sprites.num_channels
        else:
            self.coordinates = MovingCoordinates(code_size=hidden, num_references=NUM_REFERENCES)
        self.scene: Scene | None = None
        if model.scene_scale:
            self.scene = Scene(
                code_size=hidden, channels=channels, grid=(rows, columns), scale=model.scene_scale
            )
        self.place = PlaceEmbedding(self.coordinates, channels, rows=rows, columns=columns)
        self.fine = ResidualBlock(channels, code_size=hidden)
        self.finest = ResidualBlock(channels, code_size=hidden)
        self.to_patches = ToPatches(model.patch_size, channels, out_channels=out_channels)
        self.to_pixels = (
            ToPixels(
                model.patch_size,
                channels,
                pixel_channels=model.pixel_channels,
                coordinates=self.coordinates,
                grid=(rows, columns),
                code_size=hidden,
                out_channels=out_channels,
            )
            if model.pixel_channels
            else None
        )

    def latent_shape(self, num_frames: int) -> tuple[int, ...]:
        """Return the shape of one clip's latents.

        Of P phrases, each P successive latents are one of each phrase.
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
        Times that training did not show need the number of frames that it showed.
        """
        text = self.encode_text(token_ids, token_mask)
        return self.draw_video(latents, text, times, trained_frames)

    def encode_text(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """Encode token_ids (B, L), token_mask (B, L): text codes (B, E).

        Of P phrases, the P codes of a prompt stand one after the other.
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
        num_frames = times.shape[1]
        is_present: Tensor | None = None
        if self.max_phrases > 1:  # from here on B is clips times phrases
            text = text.unflatten(1, (self.max_phrases, -1))  # B P E
            is_present = text.any(2)  # B P
            latents = latents.unflatten(1, (-1, self.max_phrases)).transpose(1, 2).flatten(0, 1)
            text, times = text.flatten(0, 1), times.repeat_interleave(self.max_phrases, dim=0)
        with torch.autocast(latents.device.type, enabled=False):  # bfloat16: jitter
            content = self.content(torch.cat([latents, text], dim=1))  # B hidden
            encode = partial(self.encode_frames, content)
            code = encode_times(encode, times, trained_frames).flatten(0, 1)  # (B K) hidden
        if self.sprites is None:
            scene = None if self.scene is None else self.scene(self.frame(content), code, times)
            return self.pixels.restore(self.draw(code, num_frames=num_frames, scene=scene))
        appearance = self.frame(content)  # B hidden
        drawing = self.draw(appearance, num_frames=1).squeeze(2)  # B 4R H W
        camera = None if self.camera_std is None else self.camera_std * latents[:, :3]  # B 3
        if self.phrase_cameras is not None and is_present is not None:
            with torch.autocast(latents.device.type, enabled=False):
                moved = self.phrase_cameras(content.unflatten(0, is_present.shape), is_present)
            camera = moved.flatten(0, 1) if camera is None else camera + moved.flatten(0, 1)
        return self.pixels.restore(
            self.sprites(drawing, code, appearance, times, camera, is_present=is_present)
        )

    def draw(self, code: Tensor, *, num_frames: int, scene: Tensor | None = None) -> Tensor:
        """Draw codes over views of a scene, if there is one.

        code (B*K, hidden), scene (B*K, C, h, w) -> video (B, C, K, H, W).
        """
        reference = self.coordinates(code)
        maps = upsample2x(self.draw_coarse(code))  # (B K) C h w
        if scene is not None:
            maps = maps + scene
        maps = maps + self.place(reference)
        maps = F.silu(self.finest(self.fine(maps, code), code))  # (B K) C h w
        drawing = self.to_patches(maps, num_frames=num_frames)  # B C K H W
        if self.to_pixels is not None:
            drawing = drawing + self.to_pixels(maps, reference, code, num_frames=num_frames)
        return drawing

    def encode_frames(self, content: Tensor, times: Tensor) -> Tensor:
        """Modulate content (B, hidden) by times (B, K): (B, K, hidden)."""
        content = content.unsqueeze(1)  # B 1 hidden
        time = self.time(self.time_features(times))  # B K hidden
        return self.frame(torch.addcmul(content, content.sigmoid(), time, value=2))

    def draw_coarse(self, code: Tensor) -> Tensor:
        """Draw maps (N, C, h/2, w/2) of codes (N, hidden)."""
        maps = self.layout(code).view(-1, *self.coarsest)  # N 2C h/4 w/4
        maps = self.coarse(maps.contiguous(memory_format=torch.channels_last), code)
        return self.to_fine(self.middle(upsample2x(maps), code))
