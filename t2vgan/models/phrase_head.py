"""The discriminator's head for the object of each phrase."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2vgan.config import ClipGanConfig
from t2vgan.models.coordinates import cell_centres
from t2vgan.models.layers import TimeFeatures, repeat_clips
from t2vgan.models.phrases import encode_phrases
from t2vgan.models.text_encoders import build_text_encoder


class PhraseHead(nn.Module):
    """Score what each phrase of a prompt attends to in every frame.

    A sum over places shows which colours, shapes and motions there are, but not which belong to one
    object. Here each phrase's code attends to places (Bahdanau et al., ICLR 2015), and the features
    found there and their positions over the frames are scored against the same code by projection.
    The head also predicts the first latents of each phrase.
    """

    places: Tensor

    def __init__(
        self,
        model: ClipGanConfig,
        *,
        vocabulary_size: int,
        in_channels: int,
        grid: tuple[int, int],
        frames_per_clip: int,
        recovered_latents: int,
    ) -> None:
        super().__init__()
        self.max_phrases = model.max_phrases
        text, size = model.text_size, model.hidden_size // 2
        self.text_encoder = build_text_encoder(model, vocabulary_size=vocabulary_size)
        self.to_query = nn.Linear(text, in_channels)
        places = torch.meshgrid(*map(cell_centres, grid), indexing="ij")
        self.register_buffer("places", torch.stack(places).flatten(1), persistent=False)  # 2 S
        self.to_frame = nn.Linear(in_channels + 4, size)
        self.time_features = TimeFeatures()
        self.time = nn.Linear(self.time_features.size, size)
        self.clip = nn.Sequential(
            nn.Linear(frames_per_clip * size, 2 * size), nn.SiLU(), nn.Linear(2 * size, size)
        )
        self.frame_projection = nn.Linear(size, text)
        self.clip_projection = nn.Linear(size, text)
        self.scale = text**-0.5
        num_each = recovered_latents // model.max_phrases
        self.recover = nn.Linear(size, num_each) if num_each else None

    def forward(
        self,
        maps: Tensor,
        times: Tensor,
        token_ids: Tensor,
        token_mask: Tensor,
        num_repeats: int,
    ) -> tuple[Tensor, Tensor]:
        """Score clips with prompts, and predict latents.

        maps (B, K, C, h, w), times (B, K), token_ids and token_mask (M, L), prompts and
        `num_repeats` as in `repeat_clips` -> logits (M,), recovered latents (B, R).
        """
        text = encode_phrases(self.text_encoder, token_ids, token_mask, self.max_phrases)  # M P E
        cells = maps.flatten(3).transpose(2, 3)  # B K S C: the order in memory
        cells = repeat_clips(cells, len(text), num_repeats)
        frames = self.attend(cells, text)  # M P K F
        frame_logits = (self.frame_projection(frames) * text.unsqueeze(2)).sum(3).mean(2)  # M P
        time = repeat_clips(self.time(self.time_features(times)), len(text), num_repeats)  # M K F
        objects = F.silu(self.clip((frames * (1 + time.unsqueeze(1))).flatten(2)))  # M P F
        clip_logits = (self.clip_projection(objects) * text).sum(2)  # M P
        recovered = objects[: len(times), 0, :0]
        if self.recover is not None:
            recovered = self.recover(objects[: len(times)]).transpose(1, 2).flatten(1)  # B R
        return (frame_logits + clip_logits).sum(1) * self.scale, recovered

    def attend(self, cells: Tensor, text: Tensor) -> Tensor:
        """Return what phrases attend to in each frame, and where.

        cells (M, K, h*w, C), text (M, P, E) -> (M, P, K, F). Fused attention is not used because it
        has no second derivatives.
        """
        query = self.to_query(text).unsqueeze(1)  # M 1 P C
        weights = (query @ cells.transpose(2, 3) * cells.shape[3] ** -0.5).softmax(3)  # M K P S
        seen = weights @ cells  # M K P C
        where = weights @ self.places.T  # M K P 2
        spread = weights @ self.places.square().T - where.square()
        frames = self.to_frame(torch.cat([seen, 2 * where, 2 * spread], dim=3))
        return F.silu(frames).transpose(1, 2)
