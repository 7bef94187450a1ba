"""Encode the phrases of a prompt, and keep their sprites apart."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def split_mask(token_mask: Tensor, max_phrases: int) -> Tensor:
    """Split the mask of a prompt's tokens into masks of its phrases.

    token_mask (B, L) bool, false between two phrases -> (B, P, L) bool.
    """
    number = token_mask.logical_not().cumsum(1).unsqueeze(1)  # B 1 L
    phrases = torch.arange(max_phrases, device=token_mask.device).unsqueeze(1)  # P 1
    return (number == phrases) & token_mask.unsqueeze(1)


def encode_phrases(
    encoder: nn.Module, token_ids: Tensor, token_mask: Tensor, max_phrases: int
) -> Tensor:
    """Encode each phrase of a prompt with the same text encoder.

    token_ids and token_mask (B, L) -> (B, P, E), zero for phrases that a prompt does not have.
    """
    masks = split_mask(token_mask, max_phrases)  # B P L
    is_present = masks.any(2, keepdim=True)  # B P 1
    masks = masks | token_mask.unsqueeze(1) & ~is_present  # an encoder needs at least one token
    ids = token_ids.repeat_interleave(max_phrases, dim=0)  # (B P) L
    codes = encoder(ids, masks.flatten(0, 1)).unflatten(0, (-1, max_phrases))
    return torch.where(is_present, codes, 0.0)


class PhraseCameras(nn.Module):
    """Zoom and shift each phrase's sprites, given the other phrases.

    Without it, objects would be drawn independently, and so on top of each other. Each pair of
    phrases adds a log zoom and a pan, which are the same in all frames, so that they do not change
    the motion. A sum over pairs treats all phrases alike (relation networks, Santoro et al.,
    NeurIPS 2017). It is initialised to zero, so a network trained on one object draws each of
    several objects as before.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.own = nn.Linear(size, size)
        self.other = nn.Linear(size, size, bias=False)
        self.to_camera = nn.Linear(size, 3)
        for parameter in self.to_camera.parameters():
            nn.init.zeros_(parameter)

    def forward(self, content: Tensor, is_present: Tensor) -> Tensor:
        """Compute the cameras of phrases.

        content (B, P, E), is_present (B, P) bool -> (B, P, 3).
        """
        pairs = self.own(content).unsqueeze(2) + self.other(content).unsqueeze(1)  # B P P E
        cameras = self.to_camera(F.silu(pairs))  # B P P 3
        num_phrases = content.shape[1]
        is_other = ~torch.eye(num_phrases, dtype=torch.bool, device=content.device)
        counts = is_other & is_present.unsqueeze(1)  # B P P: the second phrase is another, present
        return (cameras * counts.unsqueeze(3)).sum(2)
