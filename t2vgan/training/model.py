"""The networks and vocabulary of a run, and their initial weights."""

from torch import nn

from t2vgan import __version__
from t2vgan.checkpoint.weights import TextEncoderInfo, WeightsInfo
from t2vgan.config import ClipGanConfig, Config
from t2vgan.data.manifest import Manifest
from t2vgan.data.mixture import DatasetMixture
from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.device import choose_precision
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.gan.compilation import choose_compilation
from t2vgan.gan.networks import build_networks
from t2vgan.gan.step_graph import CudaCapture, StepGraphs, choose_cuda_graphs
from t2vgan.models.text_encoders import set_word_states
from t2vgan.tokenizer import Vocabulary
from t2vgan.training.data import create_vocabulary, find_pixel_statistics, without_mismatched
from t2vgan.training.initial_weights import (
    INITIAL_NAME,
    InitialWeights,
    find_initial_weights,
    grow_vocabulary,
    load_initial_weights,
)
from t2vgan.training.run_dir import read_origin, read_tokenizer, write_origin
from t2vgan.training.state import TrainingClock
from t2vgan.training.text_states import ENCODER_NAME, load_text_states


def find_vocabulary(config: Config, manifest: Manifest) -> tuple[Vocabulary, InitialWeights | None]:
    """Return a run's vocabulary, including words of its initial weights.

    The second result is the record of these weights, if any.

    Raises:
        UserError: the weights are missing, damaged or of another kind of model.
    """
    vocabulary = create_vocabulary(config, manifest, read_tokenizer(config.run_dir))
    weights = find_initial_weights(config)
    return grow_vocabulary(vocabulary, weights.words) if weights else vocabulary, weights


def build_run_networks(config: Config, manifest: Manifest) -> tuple[nn.Module, nn.Module]:
    """Build a run's generator and discriminator, without their trained weights.

    Raises:
        UserError: the frame size does not fit the model, or the initial weights are unusable.
    """
    vocabulary, _ = find_vocabulary(config, manifest)
    return build_networks(
        config.model,
        without_mismatched(config.train, manifest),
        height=manifest.geometry.height,
        width=manifest.geometry.width,
        vocabulary_size=len(vocabulary),
    )


class TrainedModel:
    """The networks of a run and their vocabulary.

    The constructor is collective; it reads run_dir and writes nothing.
    """

    def __init__(self, config: Config, context: DistributedContext, data: DatasetMixture) -> None:
        self.config, self.context, self.manifest = config, context, data.manifest
        self.vocabulary, self.initial_weights = context.run_on_main(
            lambda: find_vocabulary(config, self.manifest)
        )
        self.text_encoder: TextEncoderInfo | None = None
        self.pixels = find_pixel_statistics(context, data) if config.train.standardize else None
        self.gan = self._create_gan()

    def _create_gan(self) -> AdversarialTraining:
        config, context, geometry = self.config, self.context, self.manifest.geometry
        device, requested = context.device, config.cuda_graphs
        precision = choose_precision(config.train.precision, device)
        graphs: StepGraphs | None = None
        if context.run_on_all(lambda: choose_cuda_graphs(requested, device, precision)):
            graphs = StepGraphs(device, CudaCapture(), required=requested == "on")
        return context.run_on_all(
            lambda: AdversarialTraining(
                config.model,
                without_mismatched(config.train, self.manifest),
                context,
                height=geometry.height,
                width=geometry.width,
                vocabulary_size=len(self.vocabulary),
                pixels=self.pixels,
                precision=precision,
                graphs=graphs,
            )
        )

    def initialize(self, *, keep_states: bool = True) -> list[str]:
        """Load the initial weights and word states of a new run (collective).

        Returns lines on the weights. `keep_states` is `keep` of `load_text_states`.
        """
        lines = self._load_initial_weights()
        self._load_text_states(keep=keep_states)
        return lines

    def _load_initial_weights(self) -> list[str]:
        weights, geometry = self.initial_weights, self.manifest.geometry
        if weights is None:
            return []
        size = geometry.height, geometry.width
        lines = self.context.run_on_all(
            lambda: load_initial_weights(self.config, self.gan, weights, self.vocabulary, size)
        )
        return [f"init_from: {line}" for line in lines]

    def _load_text_states(self, *, keep: bool) -> None:
        config, gan = self.config, self.gan
        if not isinstance(config.model, ClipGanConfig) or not config.model.has_sentence_encoder:
            return
        prompts = list(self.manifest.prompts)
        self.text_encoder, states = self.context.run_on_main(
            lambda: load_text_states(config, self.vocabulary, prompts, keep=keep)
        )
        for network in (gan.generator.network, gan.discriminator.network, gan.ema.model):
            set_word_states(network, states)

    def write_origin(self) -> None:
        """Record a new run's initial weights and text encoder (collective)."""
        run_dir, weights, encoder = self.config.run_dir, self.initial_weights, self.text_encoder
        if weights:
            self.context.run_on_main(lambda: write_origin(run_dir / INITIAL_NAME, weights))
        if encoder:
            self.context.run_on_main(lambda: write_origin(run_dir / ENCODER_NAME, encoder))

    def read_origin(self) -> None:
        """Read the record of a resumed run's text encoder (collective)."""
        path = self.config.run_dir / ENCODER_NAME
        self.text_encoder = self.context.run_on_main(lambda: read_origin(path, TextEncoderInfo))

    def compile(self, *, before: bool | None = None) -> list[str]:
        """Compile the networks if this run does; return messages (collective).

        `before` is whether those of the checkpoint were compiled; None without a checkpoint.
        """
        requested, device = self.config.compile, self.context.device
        is_compiled, message = self.context.run_on_all(
            lambda: choose_compilation(requested, device, before=before)
        )
        if not self.context.any(not is_compiled):
            self.gan.compile_networks(is_optional=requested == "auto")
        return [message] if message else []

    def weights_info(self, clock: TrainingClock) -> WeightsInfo:
        """Return everything that generation needs besides tensors."""
        return WeightsInfo(
            model=self.config.model,
            **self.manifest.geometry.model_dump(),
            fps=self.manifest.fps,
            words=self.vocabulary.words,
            tokenizer=self.vocabulary.tokenizer,
            prompts=tuple(self.manifest.prompts),
            held_out_prompts=self.manifest.held_out_prompts,
            text_encoder=self.text_encoder,
            step=clock.step,
            clips_seen=clock.clips_seen,
            t2vgan_version=__version__,
        )
