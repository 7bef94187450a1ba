"""Open the data and compare ranks before training starts."""

from t2vgan.config import Config, TrainConfig
from t2vgan.data.batch_plan import check_num_shards
from t2vgan.data.captions import NO_CAPTION
from t2vgan.data.manifest import Manifest
from t2vgan.data.mixture import DatasetMixture, open_data
from t2vgan.data.pixel_sums import PixelStatistics
from t2vgan.distributed.consistency import check_agreement, describe_config, describe_software
from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.device import choose_precision
from t2vgan.tokenizer import MAX_TOKENS, is_cut
from t2vgan.tracking import check_tracking


def find_pixel_statistics(context: DistributedContext, data: DatasetMixture) -> PixelStatistics:
    """Return mean and std of the data (collective).

    The same on all ranks.

    Raises:
        UserError: they must be measured, and no clip can be read.
    """
    return data.pixel_statistics or context.run_on_main(data.measure_pixels)


def format_pixels(data: DatasetMixture, pixels: PixelStatistics) -> str:
    """Format what videos are standardised by, and where it comes from."""
    means = ", ".join(f"{mean:.2f}" for mean in pixels.mean)
    source = "" if data.pixel_statistics else ", measured on some clips: the manifest has no sums"
    return f"videos have means {means} and std {pixels.std:.2f} in [-1, 1]{source}"


def without_mismatched(train: TrainConfig, manifest: Manifest) -> TrainConfig:
    """Return the recipe, without the mismatched term for one prompt."""
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
    """Describe how the data are prepared and shown, a line each."""
    lines = [format_pixels(data, pixels)] if pixels else []
    if augmented_share:
        lines.append(
            f"{augmented_share:.0%} of the clips are augmented, in each of three ways"
            f" ({data.manifest.num_samples} clips; train.augment changes it)"
        )
    return [
        *lines,
        *describe_captions(config, data.manifest, tokenizer),
        *data.describe_epochs(
            num_streams=config.data.num_streams, global_batch_size=config.train.global_batch_size
        ),
    ]


def describe_captions(config: Config, manifest: Manifest, tokenizer: int) -> list[str]:
    """Describe clips without captions, and captions that are cut, a line each."""
    lines = []
    num_empty = manifest.prompts.get(NO_CAPTION, 0)
    if num_empty and len(manifest.prompts) == 1:
        lines.append(
            "no clip has a caption: training is unconditional; the mismatched term is off, and"
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
            f"{num_long:,} of {len(manifest.prompts):,} captions have more than {MAX_TOKENS} words:"
            " of each the first are read, the rest is cut"
        )
    return lines


def open_data_on_all(context: DistributedContext, config: Config) -> DatasetMixture:
    """Open the data; compare data, config and software over ranks (collective).

    Raises:
        UserError: on every rank alike.
    """

    def open_here() -> DatasetMixture:
        choose_precision(config.train.precision, context.device)
        check_tracking(config)
        data = open_data(config.data)
        check_num_shards(config, context.world_size, data.fewest_shards)
        streams, window = config.data.num_streams, config.data.shuffle_window
        data.create_sampler(num_streams=streams, shuffle_window=window, seed=0)
        return data

    data = context.run_on_all(open_here)
    facts = describe_software() | describe_config(config)
    check_agreement(context, facts | {"data": data.manifest.fingerprint[:12]})
    return data
