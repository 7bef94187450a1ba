"""Write tiny random sentence encoders."""

import json

import tokenizers
import torch
from safetensors.torch import save_file

from t2vgan.models.bert import BertSizes

WORDS = ["[PAD]", "[UNK]", "a", "red", "star", "moving", "up"]
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}


def write_encoder(folder, *, config=None, tensors=None):
    """Write a random model as Hugging Face does; None as a value leaves a field out."""
    folder.mkdir(exist_ok=True)
    fields = {"model_type": "bert", "hidden_act": "gelu", **SIZES} | (config or {})
    fields = {name: value for name, value in fields.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(fields))
    generator = torch.Generator().manual_seed(0)
    shapes = BertSizes(**SIZES).expected_shapes()
    made = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    made |= tensors or {}
    save_file({k: v for k, v in made.items() if v is not None}, folder / "model.safetensors")
    model = tokenizers.models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
