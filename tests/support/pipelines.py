"""Pipelines of tiny random generators."""

import torch

from t2vgan.checkpoint.weights import WeightsInfo
from t2vgan.config import ClipGanConfig, NotebookGanConfig
from t2vgan.models import build_generator
from t2vgan.pipeline import TextToVideo
from t2vgan.tokenizer import Vocabulary

TINY = ClipGanConfig(latent_size=4, text_size=8, hidden_size=16, channels=4, patch_size=2)
ODD = ClipGanConfig(latent_size=5, text_size=9, hidden_size=17, channels=3, patch_size=3)
PROMPTS = [
    "circle moving up-right",
    "circle shrinking",
    "circle moving diagonally down-left",
    "circle moving up-right",
    "circle rotating counter-clockwise",
]
SEEDS = [7, 0, 2**63 - 1, 8, 7]
VOCABULARY = Vocabulary.from_prompts(PROMPTS)
PHRASES = TINY.model_copy(update={"num_sprites": 1, "max_phrases": 2, "camera_variation": 0.1})
MODELS = {"clip_gan": (TINY, 16, 24), "notebook_gan": (NotebookGanConfig(), 64, 64)}
# The tails of ODD's tensors fill no vector register, so that kernels treat the last rows otherwise.
ALL_MODELS = MODELS | {"default": (ClipGanConfig(), 64, 64), "odd": (ODD, 36, 60)}


def make_generator(kind="clip_gan"):
    model, height, width = ALL_MODELS[kind]
    torch.manual_seed(1)
    generator = build_generator(model, height=height, width=width, vocabulary_size=len(VOCABULARY))
    return generator.eval()


def make_phrases_pipeline():
    """Make a pipeline that draws two phrases."""
    prompts = ["a circle moving up and a circle shrinking", "the circle is shrinking"]
    vocabulary = Vocabulary.from_prompts(prompts, max_phrases=2)
    torch.manual_seed(1)
    generator = build_generator(PHRASES, height=16, width=24, vocabulary_size=len(vocabulary))
    torch.nn.init.normal_(generator.phrase_cameras.to_camera.weight)
    info = describe(model=PHRASES, words=vocabulary.words, prompts=prompts)
    return TextToVideo(generator.eval(), vocabulary, info)


def describe(**changes):
    fields = {
        "model": TINY,
        "num_frames": 5,
        "height": 16,
        "width": 24,
        "fps": 10,
        "words": VOCABULARY.words,
        "tokenizer": VOCABULARY.tokenizer,
        "prompts": PROMPTS[:3],
        "held_out_prompts": (),
        "step": 3,
        "clips_seen": 48,
        "t2vgan_version": "0",
    }
    return WeightsInfo(**fields | changes)


class Wrapped(torch.nn.Module):
    """A generator whose video (B, 3, T, H, W) is changed."""

    def __init__(self, generator, change):
        super().__init__()
        self.generator, self.change = generator, change
        self.latent_shape = generator.latent_shape
        self.encode_text = generator.encode_text

    def draw_video(self, *inputs):
        return self.change(self.generator.draw_video(*inputs))


def show_last_bits(video):
    """Amplify a number's last bits to many levels of its pixel."""
    return (video * 2**20).remainder(2) - 1


def load(kind, change=lambda video: video, device="cpu"):
    model, height, width = ALL_MODELS[kind]
    info = describe(model=model, height=height, width=width)
    return TextToVideo(Wrapped(make_generator(kind).to(device), change), VOCABULARY, info)


def generate(generator, prompts=PROMPTS, seeds=SEEDS, *, num_frames=5, **options):
    pipeline = TextToVideo(generator, VOCABULARY, describe())
    options = {"batch_size": 1} | options
    return pipeline.generate(prompts, seeds, num_frames=num_frames, **options)
