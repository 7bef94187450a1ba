"""Compute the token states of a BERT-class sentence encoder.

This is BERT (Devlin et al., NAACL 2019) without its pooler, with weights named as in Hugging Face's
`BertModel`; MiniLM (Wang et al., NeurIPS 2020) is of this class. It is never trained here, so it is
not a module, whose initialisation would draw and discard 22 million random numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class BertSizes:
    """Sizes of a BERT model, named as in its config.json."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float

    def expected_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each tensor, by name."""
        hidden, inner = self.hidden_size, self.intermediate_size
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (self.vocab_size, hidden),
            "embeddings.position_embeddings.weight": (self.max_position_embeddings, hidden),
            "embeddings.token_type_embeddings.weight": (self.type_vocab_size, hidden),
        }
        norms = ["embeddings.LayerNorm"]
        for number in range(self.num_hidden_layers):
            layer = f"encoder.layer.{number}"
            norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
            for name, size, out_size in (
                ("attention.self.query", hidden, hidden),
                ("attention.self.key", hidden, hidden),
                ("attention.self.value", hidden, hidden),
                ("attention.output.dense", hidden, hidden),
                ("intermediate.dense", hidden, inner),
                ("output.dense", inner, hidden),
            ):
                shapes[f"{layer}.{name}.weight"] = (out_size, size)
                shapes[f"{layer}.{name}.bias"] = (out_size,)
        return shapes | {
            f"{norm}.{part}": (hidden,) for norm in norms for part in ("weight", "bias")
        }


@dataclass(frozen=True, eq=False)
class Bert:
    """A frozen BERT model."""

    sizes: BertSizes
    tensors: Mapping[str, Tensor]

    @torch.no_grad()
    def __call__(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """Compute the token states.

        token_ids (B, L) int64, token_mask (B, L) bool -> (B, L, hidden).
        """
        length = token_ids.shape[1]
        states = F.embedding(token_ids, self.tensors["embeddings.word_embeddings.weight"])
        states = states + self.tensors["embeddings.position_embeddings.weight"][:length]
        states = states + self.tensors["embeddings.token_type_embeddings.weight"][0]
        states = self.norm("embeddings.LayerNorm", states)
        for number in range(self.sizes.num_hidden_layers):
            states = self.apply_layer(f"encoder.layer.{number}", states, token_mask)
        return states

    def apply_layer(self, layer: str, states: Tensor, token_mask: Tensor) -> Tensor:
        """Apply self-attention and an MLP, each with its norm."""
        query, key, value = (
            self.linear(f"{layer}.attention.self.{name}", states)
            .unflatten(-1, (self.sizes.num_attention_heads, -1))
            .transpose(1, 2)
            for name in ("query", "key", "value")
        )  # B h L d
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=token_mask[:, None, None, :]
        )
        update = self.linear(f"{layer}.attention.output.dense", attended.transpose(1, 2).flatten(2))
        states = self.norm(f"{layer}.attention.output.LayerNorm", states + update)
        update = F.gelu(self.linear(f"{layer}.intermediate.dense", states))
        update = self.linear(f"{layer}.output.dense", update)
        return self.norm(f"{layer}.output.LayerNorm", states + update)

    def linear(self, name: str, states: Tensor) -> Tensor:
        """Apply the linear layer of this name."""
        return F.linear(states, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def norm(self, name: str, states: Tensor) -> Tensor:
        """Apply the layer norm of this name."""
        weight, bias = (self.tensors[f"{name}.{part}"] for part in ("weight", "bias"))
        return F.layer_norm(states, weight.shape, weight, bias, self.sizes.layer_norm_eps)
