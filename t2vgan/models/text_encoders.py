"""Text encoders: from token ids to one embedding per prompt."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from t2vgan.config import TEXT_HEAD_SIZE, ClipGanConfig
from t2vgan.tokenizer import MAX_TOKENS


class BagTextEncoder(nn.Module):
    """Embed a prompt as a bag of words.

    The words' embeddings are summed and divided by the square root of their number; an MLP
    follows. The result has unit RMS from the first step on: if prompts started as small
    differences next to the latents, both networks would ignore them for a long time.
    """

    def __init__(self, *, vocabulary_size: int, text_size: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary_size, text_size, padding_idx=0)
        self.mlp = nn.Sequential(
            nn.Linear(text_size, text_size), nn.SiLU(), nn.Linear(text_size, text_size)
        )

    def forward(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """Embed token_ids (B, L) int64, token_mask (B, L) bool: (B, E)."""
        return self.embed_bag(self.embed_words(token_ids), token_mask)

    def embed_words(self, token_ids: Tensor) -> Tensor:
        """Embed token_ids (B, L): (B, L, E)."""
        return self.words(token_ids)

    def embed_bag(self, words: Tensor, token_mask: Tensor) -> Tensor:
        """Embed words (B, L, E), token_mask (B, L): (B, E)."""
        return unit_rms(self.mlp(sum_words(words, token_mask)))


class SentenceTextEncoder(BagTextEncoder):
    """Add a frozen sentence encoder's states to the bag of words.

    The trained embeddings start at zero, so that at first words of similar meaning are encoded
    alike, and training learns their differences. The states are saved with the weights, so
    generation does not need the sentence encoder.
    """

    states: Tensor
    """Whitened states of the words by token id, (V, E); zero for padding."""

    def __init__(self, *, vocabulary_size: int, text_size: int) -> None:
        super().__init__(vocabulary_size=vocabulary_size, text_size=text_size)
        nn.init.zeros_(self.words.weight)
        self.register_buffer("states", torch.zeros(vocabulary_size, text_size))
        self.project = nn.Linear(text_size, text_size, bias=False)

    def embed_words(self, token_ids: Tensor) -> Tensor:
        """Embed token_ids (B, L): (B, L, E)."""
        return self.words(token_ids) + self.project(self.states[token_ids])


class TransformerTextEncoder(BagTextEncoder):
    """Add the output of a small transformer to the bag of words.

    A bag of words cannot distinguish "a red square and a blue circle" from "a blue square and a red
    circle", but it learns faster: at the start of training the mean over a transformer's words
    differs little from prompt to prompt (dev/LOG.md). So the transformer's share starts at zero.
    Its layers are pre-norm (Xiong et al., ICML 2020).
    """

    NUM_LAYERS = 2

    def __init__(self, *, vocabulary_size: int, text_size: int) -> None:
        super().__init__(vocabulary_size=vocabulary_size, text_size=text_size)
        self.places = nn.Embedding(MAX_TOKENS, text_size)
        self.layers = nn.ModuleList(
            TextLayer(text_size, num_heads=text_size // TEXT_HEAD_SIZE)
            for _ in range(self.NUM_LAYERS)
        )
        self.share = nn.Parameter(torch.zeros(text_size))

    def forward(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """Embed token_ids (B, L) int64, token_mask (B, L) bool: (B, E)."""
        words = self.words(token_ids)  # B L E
        text = self.embed_bag(words, token_mask)  # B E
        words = words + self.places.weight[: token_ids.shape[1]]
        for layer in self.layers:
            words = layer(words, token_mask)
        mean = (words * token_mask.unsqueeze(-1)).sum(1) / token_mask.sum(1, keepdim=True)  # B E
        return unit_rms(text + self.share * unit_rms(mean))


class TextLayer(nn.Module):
    """Apply self-attention and an MLP, each with a skip connection."""

    def __init__(self, text_size: int, *, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_heads = nn.Linear(text_size, 3 * text_size)
        self.from_heads = nn.Linear(text_size, text_size)
        self.mlp = nn.Sequential(
            nn.Linear(text_size, 2 * text_size), nn.SiLU(), nn.Linear(2 * text_size, text_size)
        )

    def forward(self, words: Tensor, token_mask: Tensor) -> Tensor:
        """Update words (B, L, E), token_mask (B, L)."""
        heads = self.to_heads(F.rms_norm(words, words.shape[-1:]))
        query, key, value = rearrange(heads, "b l (n h e) -> n b h l e", n=3, h=self.num_heads)
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=token_mask[:, None, None, :]
        )  # B h L e
        words = words + self.from_heads(rearrange(attended, "b h l e -> b l (h e)"))
        return words + self.mlp(F.rms_norm(words, words.shape[-1:]))


def sum_words(words: Tensor, token_mask: Tensor) -> Tensor:
    """Sum words, and divide by the square root of their number.

    words (..., B, L, E), token_mask (B, L) -> (..., B, E).
    """
    words = words * token_mask.unsqueeze(-1)
    return words.sum(-2) / token_mask.sum(1, keepdim=True).sqrt()


def unit_rms(text: Tensor) -> Tensor:
    """Scale codes (..., E) to a root mean square of 1."""
    return F.rms_norm(text, text.shape[-1:])


def encode_by_all(
    encoders: Sequence[BagTextEncoder], token_ids: Tensor, token_mask: Tensor
) -> Tensor:
    """Encode prompts by H encoders of the same kind.

    token_ids and token_mask (B, L) -> codes (H, B, E). Bags of words are encoded in one batch.
    """
    if isinstance(encoders[0], TransformerTextEncoder):
        return torch.stack([encoder(token_ids, token_mask) for encoder in encoders])
    words = torch.stack([encoder.embed_words(token_ids) for encoder in encoders])  # H B L E
    bags = sum_words(words, token_mask).transpose(1, 2)  # H E B
    first, _, last = zip(*(encoder.mlp for encoder in encoders), strict=True)
    return unit_rms(map_by_each(last, F.silu(map_by_each(first, bags))).transpose(1, 2))


def map_by_each(layers: Sequence[nn.Linear], values: Tensor) -> Tensor:
    """Apply layer h to the columns of values[h]: (H, out, B)."""
    weight = torch.stack([layer.weight for layer in layers])
    bias = torch.stack([layer.bias for layer in layers])
    return torch.baddbmm(bias.unsqueeze(2), weight, values)


TEXT_ENCODERS = {"bag": BagTextEncoder, "transformer": TransformerTextEncoder}


def build_text_encoder(
    model: ClipGanConfig, *, vocabulary_size: int
) -> BagTextEncoder | SentenceTextEncoder | TransformerTextEncoder:
    """Build a model's text encoder; word states, if any, are zero."""
    kind = TEXT_ENCODERS.get(model.text_encoder, SentenceTextEncoder)
    return kind(vocabulary_size=vocabulary_size, text_size=model.text_size)


def set_word_states(network: nn.Module, states: Tensor) -> None:
    """Set the word states (V, E) of all text encoders."""
    for module in network.modules():
        if isinstance(module, SentenceTextEncoder):
            module.states.copy_(states)
