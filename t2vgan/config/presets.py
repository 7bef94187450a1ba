"""Named configs: `train.py NAME` starts a run of one."""

from pathlib import Path
from typing import Any

from t2vgan.config import ClipGanConfig, Config, DataConfig, NotebookGanConfig, TrainConfig

# With standardised videos the discriminator would win on a plain background (dev/LOG.md).
PLAIN: dict[str, Any] = {"standardize": False, "augment": 0.0}
SHAPES: dict[str, Any] = PLAIN | {"hard_mismatched_share": 0.5}
SMALL_SHAPES: dict[str, Any] = SHAPES | {
    "gamma_start": 2.5,  # a quarter of that of `shapes`, which has four times the pixels
    "gamma_end": 0.1,
    "ema_halflife_clips": 20_000.0,
}
VIDEO: dict[str, Any] = {
    "mismatched_prompts": 15,
    "mode_seeking_weight": 0.1,
    "recovered_latents": 16,
    "recovery_weight": 6.0,
    "lr_hold": 0.1,  # the weight of latent recovery rises from here on: variety is learned last
    "recovery_until": 0.3,
    "near_window_share": 0.7,
}
SPRITES: dict[str, Any] = {
    "patch_size": 2,
    "pooled_features": True,
    "num_sprites": 1,
    "camera_variation": 0.1,
}
SMALL_SPRITES: dict[str, Any] = SPRITES | {"pixel_channels": 8}

PRESETS = {
    "quickstart": Config(
        run_dir=Path("runs/quickstart"),
        data=DataConfig(path="data/circles"),
        model=ClipGanConfig(moments=True),
        train=TrainConfig(
            **PLAIN,
            num_steps=4000,
            mismatched_prompts=15,
            recovered_latents=4,
            recovery_weight=6.0,
            recovery_hold=0.2,
            recovery_until=0.3,
            gamma_start=10.0,
            gamma_end=0.3,
        ),
    ),
    "notebook": Config(
        run_dir=Path("runs/notebook"),
        data=DataConfig(path="data/notebook"),
        model=NotebookGanConfig(),
        train=TrainConfig(
            num_steps=81_250,  # 13 epochs of 100,000 frames
            global_batch_size=16,
            frames_per_clip=1,
            **PLAIN,
            loss="bce",
            mismatched_weight=0.0,
            recovered_latents=0,
            generator_lr=2e-4,
            discriminator_lr=2e-4,
            lr_hold=1.0,
            lr_final=1.0,
            beta1=0.5,
            beta2_start=0.999,
            beta2_end=0.999,
            gradient_clip=0.0,
            penalty_every_steps=0,
            ema_halflife_clips=1e-3,  # no averaging
        ),
        sample_every_steps=5000,
        evaluate_every_steps=5000,
        save_every_steps=5000,
    ),
    "shapes": Config(
        run_dir=Path("runs/shapes"),
        data=DataConfig(path="data/shapes"),
        model=ClipGanConfig(
            **SPRITES,
            latent_size=64,
            text_size=128,
            hidden_size=256,
            channels=32,
            pixel_channels=16,
        ),
        train=TrainConfig(
            **SHAPES,
            num_steps=20_000,
            global_batch_size=32,
            gamma_start=10.0,
            gamma_end=2.0,
            ema_halflife_clips=10_000.0,
        ),
        sample_every_steps=1000,
        evaluate_every_steps=500,
        evaluate_num_clips=1000,
        save_every_steps=1000,
    ),
    "shapes-cpu": Config(
        run_dir=Path("runs/shapes-cpu"),
        data=DataConfig(path="data/shapes-32"),
        model=ClipGanConfig(**SMALL_SPRITES),
        train=TrainConfig(**SMALL_SHAPES, num_steps=10_000),
        sample_every_steps=1000,
        evaluate_every_steps=500,
        evaluate_num_clips=400,
        save_every_steps=500,
    ),
    "shapes-two": Config(
        run_dir=Path("runs/shapes-two"),
        init_from="runs/shapes-cpu",  # its discriminator too: weights files hold none
        data=DataConfig(path="data/shapes-two-32"),
        model=ClipGanConfig(
            **SMALL_SPRITES | {"camera_variation": 0.05},  # two sprites would often overlap
            max_phrases=2,
        ),
        train=TrainConfig(**SMALL_SHAPES, num_steps=2500, generator_lr=1e-4),
        sample_every_steps=1000,
        evaluate_every_steps=125,
        evaluate_num_clips=200,
        save_every_steps=250,
    ),
    "video": Config(
        run_dir=Path("runs/video"),
        data=DataConfig(path="data/videos"),
        model=ClipGanConfig(
            latent_size=128,
            text_size=128,
            hidden_size=512,
            channels=64,
            pixel_channels=16,
            pooled_features=True,
            smooth_patches=True,
            scene_scale=2.0,
            motion_channels=16,
        ),
        train=TrainConfig(
            num_steps=50_000,
            global_batch_size=64,
            **VIDEO,
            ema_halflife_clips=20_000.0,
        ),
        sample_every_steps=1000,
        evaluate_every_steps=1000,
        evaluate_num_clips=512,
        save_every_steps=1000,
    ),
    "video-small": Config(
        run_dir=Path("runs/video-small"),
        data=DataConfig(path="data/videos-32"),
        model=ClipGanConfig(
            patch_size=2,
            pixel_channels=8,
            pooled_features=True,
            smooth_patches=True,
            scene_scale=2.0,
            motion_channels=8,
        ),
        train=TrainConfig(
            num_steps=9_000,
            **VIDEO,
            ema_halflife_clips=10_000.0,
        ),
        sample_every_steps=500,
        evaluate_every_steps=500,
        evaluate_num_clips=256,
        save_every_steps=500,
    ),
}
"""Preset name -> config. Every field is an option of the command line."""

DESCRIPTIONS = {
    "quickstart": "a moving circle, 18 prompts, 64x64; CPU, 10 minutes",
    "shapes": "Moving Shapes (shape, colour, size and motion), 64x64; one GPU",
    "shapes-cpu": "Moving Shapes, 32x32; two CPU cores, one hour",
    "shapes-two": "two shapes per prompt, from a run of shapes-cpu; two CPU cores, 8 minutes",
    "video": "your own videos, packed with t2vgan pack, 64x64; one GPU",
    "video-small": "your own videos, 32x32; two CPU cores, one hour",
    "notebook": "the published notebook's recipe, 64x64 single frames; CPU, 2.5 hours",
}
