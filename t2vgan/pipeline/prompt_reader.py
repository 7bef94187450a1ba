"""Convert prompts to tokens, reading each as a known prompt."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from t2vgan.checkpoint.weights import WeightsInfo
from t2vgan.errors import UserError
from t2vgan.pipeline.clip_drawer import Tokens
from t2vgan.pipeline.sentence_encoder import is_installed
from t2vgan.pipeline.word_vectors import embed_texts
from t2vgan.prompts.matching import PromptMatch, PromptMatcher
from t2vgan.tokenizer import MAX_TOKENS, Vocabulary
from t2vgan.utils.console import escape_control_chars

logger = logging.getLogger(__name__)


def list_prompts(prompts: str | Iterable[str]) -> list[str]:
    """List one or several prompts; UserError if one is not text."""
    one = isinstance(prompts, str) or not isinstance(prompts, Iterable)
    listed: list[str] = [prompts] if one else list(prompts)  # type: ignore[list-item, arg-type]
    for prompt in listed:
        if not isinstance(prompt, str):
            raise UserError(f"prompt={prompt!r}: must be text")
    return listed


@dataclass(eq=False)
class PromptReader:
    """Read prompts with the vocabulary and the known prompts of weights."""

    vocabulary: Vocabulary
    info: WeightsInfo

    @cached_property
    def _matcher(self) -> PromptMatcher:
        embed = embed_texts if is_installed() else None
        return PromptMatcher(self.vocabulary, self.info.prompts, self.info.held_out_prompts, embed)

    def match(self, prompts: Sequence[str], *, strict: bool) -> dict[str, PromptMatch]:
        """Find the known prompt for each prompt; see `TextToVideo.match_prompts`."""
        return {
            prompt: self._matcher.match(prompt, strict=strict) for prompt in dict.fromkeys(prompts)
        }

    def encode(self, prompts: Sequence[str], *, allow_unknown: bool, strict: bool) -> Tokens:
        """Encode prompts, and log how unknown ones are read.

        Raises:
            UserError: a prompt has no word that the model knows; with `strict`, a prompt is not
                known.
        """
        if not allow_unknown:
            matches = self.match(prompts, strict=strict)
            for match in matches.values():
                if match.note:
                    logger.warning("%s", escape_control_chars(match.note))
            prompts = [matches[prompt].read_as for prompt in prompts]
        # One length for all prompts, because the rounding of a sum over words depends on it.
        tokens = self.vocabulary.encode(prompts, allow_unknown=True, length=MAX_TOKENS)
        token_ids, token_mask = map(torch.from_numpy, tokens)
        return token_ids, token_mask
