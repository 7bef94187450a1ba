"""Networks: generators that draw videos and discriminators that score them.

`generator(latents, token_ids, token_mask, times) -> video (B, 3, K, H, W)` and
`discriminator(video, token_ids, token_mask, times) -> logits (B,), recovered latents (B, R)`, where
times (B, K) runs from 0 at a clip's first frame to 1 at its last, and
`generator.latent_shape(num_frames)` is the shape of one clip's latents. To draw times between those
of its training, a generator takes the number of trained frames as a fifth argument. Its two parts
are `encode_text(token_ids, token_mask) -> text (B, E)` and `draw_video(latents, text, times)`.
"""

from t2vgan.models.build import build_discriminator, build_generator

__all__ = ["build_discriminator", "build_generator"]
