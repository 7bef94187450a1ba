"""Open a run's data; create its vocabulary, preparer and loader."""

from collections.abc import Sequence

from t2vgan.config import Config, TrainConfig
from t2vgan.data.batch_plan import BatchPlan, check_num_shards
from t2vgan.data.captions import NO_CAPTION
from t2vgan.data.loader import ClipLoader
from t2vgan.data.manifest import Manifest
from t2vgan.data.mixture import DatasetMixture, open_data
from t2vgan.data.pixel_sums import PixelStatistics
from t2vgan.distributed.consistency import (
    Facts,
    check_agreement,
    describe_config,
    describe_software,
)
from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.device import choose_decoding_threads
from t2vgan.gan.augmentation import choose_share
from t2vgan.gan.batch import BatchPreparer
from t2vgan.gan.mismatched_prompts import HardPrompts
from t2vgan.gan.schedules import noise_every_steps
from t2vgan.tokenizer import MAX_TOKENS, Vocabulary, is_cut
from t2vgan.tracking import check_tracking
from t2vgan.utils.seeds import derive_seed


def find_pixel_statistics(context: DistributedContext, data: DatasetMixture) -> PixelStatistics:
    """Return mean and std of the data, equal on all ranks (collective).

    Raises:
        UserError: the manifest lacks them, and no clip can be read to measure them.
    """
    return data.pixel_statistics or context.run_on_main(data.measure_pixels)


def format_pixels(data: DatasetMixture, pixels: PixelStatistics) -> str:
    """Format the mean and std used to standardise videos, and their source."""
    means = ", ".join(f"{mean:.2f}" for mean in pixels.mean)
    source = "" if data.pixel_statistics else ", measured on some clips: the manifest has none"
    return f"videos have means {means} and std {pixels.std:.2f} in [-1, 1]{source}"


def without_mismatched(train: TrainConfig, manifest: Manifest) -> TrainConfig:
    """Return the recipe; with one prompt only, without the mismatched term."""
    if len(manifest.prompts) > 1:
        return train
    return train.model_copy(update={"mismatched_weight": 0.0})


def describe_data(
    config: Config,
    data: DatasetMixture,
    *,
    tokenizer: int,
    pixels: PixelStatistics | None,
    augmented_share: float,
) -> list[str]:
    """Describe how the data are prepared and shown, as lines."""
    lines = [format_pixels(data, pixels)] if pixels else []
    if augmented_share:
        lines.append(
            f"each of three augmentations is applied to {augmented_share:.0%} of the clips"
            f" (the data has {data.manifest.num_samples}; train.augment sets the share)"
        )
    return [
        *lines,
        *describe_captions(config, data.manifest, tokenizer),
        *data.describe_epochs(
            num_streams=config.data.num_streams, global_batch_size=config.train.global_batch_size
        ),
    ]


def describe_captions(config: Config, manifest: Manifest, tokenizer: int) -> list[str]:
    """Describe clips without captions and captions that are cut, as lines."""
    lines = []
    num_empty = manifest.prompts.get(NO_CAPTION, 0)
    if num_empty and len(manifest.prompts) == 1:
        lines.append(
            "no clip has a caption: training is unconditional, without the mismatched term, and"
            " generate.py needs no --prompt"
        )
    elif num_empty:
        lines.append(
            f"{num_empty:,} of {manifest.num_samples:,} clips have no caption: they are shown with"
            " an empty prompt"
        )
    if share := config.data.caption_dropout:
        lines.append(f"{share:.0%} of the clips are shown with an empty prompt each step")
    if num_long := sum(is_cut(prompt, tokenizer) for prompt in manifest.prompts):
        lines.append(
            f"{num_long:,} of {len(manifest.prompts):,} captions have more than {MAX_TOKENS} words,"
            " of which only the first are read"
        )
    return lines


def open_checked_data(config: Config, world_size: int) -> DatasetMixture:
    """Open the data; check that there are enough shards and samples.

    Raises:
        UserError: there are too few for the streams.
    """
    data = open_data(config.data)
    check_num_shards(config, world_size, data.fewest_shards)
    streams, window = config.data.num_streams, config.data.shuffle_window
    data.create_sampler(num_streams=streams, shuffle_window=window, seed=0)
    return data


def open_data_on_all(context: DistributedContext, config: Config) -> DatasetMixture:
    """Open the data; compare data, config and software over ranks (collective).

    Raises:
        UserError: on every rank, if a rank cannot open the data, or ranks differ.
    """

    def open_here() -> tuple[DatasetMixture, Facts]:
        facts = describe_software() | describe_config(config, context.device)
        check_tracking(config)
        return open_checked_data(config, context.world_size), facts

    data, facts = context.run_on_all(open_here)
    check_agreement(context, facts | {"data": data.manifest.fingerprint[:12]})
    return data


def list_prompts(config: Config, manifest: Manifest) -> list[str]:
    """List the prompts that are used in training."""
    dropped = [NO_CAPTION] if config.data.caption_dropout else []
    return [*manifest.prompts, *dropped]


def create_vocabulary(config: Config, manifest: Manifest, tokenizer: int) -> Vocabulary:
    """Create the vocabulary of a run's prompts.

    `tokenizer` is the version of the tokenizer that the run was started with.
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

    The order of the data is determined by the seed and the number of rollbacks.
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
