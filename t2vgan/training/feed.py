"""Create the vocabulary, loader and preparer of a run's batches."""

from collections.abc import Sequence

from t2vgan.config import Config
from t2vgan.data.batch_plan import BatchPlan
from t2vgan.data.captions import NO_CAPTION
from t2vgan.data.loader import ClipLoader
from t2vgan.data.manifest import Manifest
from t2vgan.data.mixture import DatasetMixture
from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.device import choose_decoding_threads
from t2vgan.gan.augmentation import choose_share
from t2vgan.gan.batch import BatchPreparer
from t2vgan.gan.mismatched_prompts import HardPrompts
from t2vgan.gan.schedules import noise_every_steps
from t2vgan.tokenizer import Vocabulary
from t2vgan.utils.seeds import derive_seed


def list_prompts(config: Config, manifest: Manifest) -> list[str]:
    """List the prompts that training shows."""
    dropped = [NO_CAPTION] if config.data.caption_dropout else []
    return [*manifest.prompts, *dropped]


def create_vocabulary(config: Config, manifest: Manifest, tokenizer: int) -> Vocabulary:
    """Create the vocabulary of a run's prompts.

    `tokenizer` is the version that the run was started with.
    """
    return Vocabulary.from_prompts(
        list_prompts(config, manifest), config.data.max_words, tokenizer, config.model.max_phrases
    )


def create_preparer(
    config: Config,
    context: DistributedContext,
    data: DatasetMixture,
    vocabulary: Vocabulary,
    plan: BatchPlan,
    latent_shape: Sequence[int],
) -> BatchPreparer:
    """Create the preparer of a run's batches."""
    hard_prompts = HardPrompts(
        data.prompt_frequencies,
        config.train.hard_mismatched_share,
        vocabulary.tokenize,
        config.model.max_phrases,
    )
    return BatchPreparer(
        context,
        vocabulary,
        hard_prompts,
        plan,
        seed=config.train.seed,
        frames_per_clip=config.train.frames_per_clip,
        latent_shape=tuple(latent_shape),
        shares_latents=config.model.shares_latents,
        num_tokens=vocabulary.count_tokens(list_prompts(config, data.manifest)),
        mismatched_prompts=config.train.num_mismatched_prompts,
        near_window_share=config.train.near_window_share,
        augmented_share=choose_share(config.train, data.manifest.num_samples),
        noise_every_steps=noise_every_steps(config.train),
    )


def create_loader(
    config: Config,
    data: DatasetMixture,
    preparer: BatchPreparer,
    *,
    start_step: int,
    rollbacks: int,
) -> ClipLoader:
    """Create the loader of this rank's batches from a step on.

    The order of the data follows from the seed; every rollback chooses another one.
    """
    options, context = config.data, preparer.context
    again = [rollbacks] if rollbacks else []
    sampler = data.create_sampler(
        num_streams=options.num_streams,
        shuffle_window=options.shuffle_window,
        seed=derive_seed(config.train.seed, "data", *again),
    )
    return ClipLoader(
        data,
        sampler,
        global_batch_size=preparer.plan.global_size,
        rank=context.rank,
        world_size=context.world_size,
        start_step=start_step,
        num_threads=options.num_threads or choose_decoding_threads(context.device),
        verify_checksums=options.verify_checksums,
        read_timeout_seconds=options.read_timeout_seconds,
        transform=preparer.build,
        caption_dropout=options.caption_dropout,
    )
