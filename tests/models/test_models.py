"""Networks: sizes, shapes, contracts at their doors."""

import math

import pytest
import torch
from torch import Tensor, nn

from t2vgan.config import ClipGanConfig, NotebookGanConfig
from t2vgan.errors import UserError
from t2vgan.models import build_discriminator, build_generator
from t2vgan.models.coordinates import MovingCoordinates, PlaceEmbedding
from t2vgan.models.layers import FromPixels, ToPixels, cosine_basis
from t2vgan.models.patches import join_patches, middles, resample, split_patches
from t2vgan.models.sprites import Sprites
from t2vgan.models.text_encoders import TEXT_ENCODERS

SMALL = ClipGanConfig(latent_size=5, text_size=6, hidden_size=14, channels=4)
RICH = SMALL.model_copy(
    update={
        "pixel_channels": 3,
        "pooled_features": True,
        "text_encoder": "transformer",
        "text_size": 16,
    }
)
SPRITES = SMALL.model_copy(update={"num_sprites": 1})
FULL = RICH.model_copy(update={"num_sprites": 2, "camera_variation": 0.1})
KINDS = {"small": SMALL, "rich": RICH, "sprites": SPRITES, "sprites and a camera": FULL}
CPU = torch.device("cpu")
# All sizes differ, so that no permuted tensor passes by accident.
B, L, K, H, W, R, VOCABULARY = 7, 3, 4, 32, 48, 2, 11


def prompts() -> tuple[Tensor, Tensor]:
    token_ids = torch.randint(1, VOCABULARY, (B, L))
    token_ids[0, 1:] = 0
    return token_ids, token_ids > 0


def times() -> Tensor:
    return torch.rand(B, K).sort(1).values


def small_generator(model: ClipGanConfig = SMALL) -> nn.Module:
    return build_generator(model, height=H, width=W, vocabulary_size=VOCABULARY)


def small_discriminator(model: ClipGanConfig = SMALL) -> nn.Module:
    return build_discriminator(
        model,
        height=H,
        width=W,
        vocabulary_size=VOCABULARY,
        frames_per_clip=K,
        recovered_latents=R,
    )


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_notebook_networks_have_the_published_sizes():
    sizes = {"height": 64, "width": 64, "vocabulary_size": 19}
    generator = build_generator(NotebookGanConfig(), **sizes)
    discriminator = build_discriminator(
        NotebookGanConfig(), **sizes, frames_per_clip=1, recovered_latents=0
    )
    assert num_parameters(generator) == 2_477_251
    assert num_parameters(discriminator) == 675_265


def test_notebook_frames_have_their_own_latents_and_do_not_see_each_other():
    generator = build_generator(
        NotebookGanConfig(), height=64, width=64, vocabulary_size=VOCABULARY
    )
    latents = torch.randn(2, *generator.latent_shape(3))
    token_ids, token_mask = (part[:2] for part in prompts())
    video = generator(latents, token_ids, token_mask, torch.zeros(2, 3))
    assert video.shape == (2, 3, 3, 64, 64)
    changed = latents.clone()
    changed[0, 1] += 1
    moved = generator(changed, token_ids, token_mask, torch.zeros(2, 3)) != video
    assert moved.flatten(3).any(-1).any(1).tolist() == [[False, True, False], [False] * 3]


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS.keys())
def test_clip_gan_shapes(model):
    token_ids, token_mask = prompts()
    generator = small_generator(model)
    latents = torch.randn(B, *generator.latent_shape(K))
    video = generator(latents, token_ids, token_mask, times())
    assert video.shape == (B, 3, K, H, W)
    logits, recovered = small_discriminator(model)(video, token_ids, token_mask, times())
    assert logits.shape == (B,)
    assert recovered.shape == (B, R)


def test_a_transformer_needs_whole_heads():
    with pytest.raises(UserError, match=r"text_size=6 must be a multiple of 16"):
        small_generator(SMALL.model_copy(update={"text_encoder": "transformer"}))


def test_no_more_latents_are_recovered_than_there_are():
    sizes = {"height": H, "width": W, "vocabulary_size": VOCABULARY, "frames_per_clip": K}
    with pytest.raises(UserError, match=r"recovered_latents=6 must be at most .* 5"):
        build_discriminator(SMALL, **sizes, recovered_latents=6)


def test_heads_are_in_float32_where_the_trunk_is_not():
    """bfloat16 would round a logit near 16 to a multiple of 1/8."""
    token_ids, token_mask = prompts()
    with torch.autocast("cpu", torch.bfloat16):
        discriminator = small_discriminator(RICH)
        judged = discriminator(torch.randn(B, 3, K, H, W), token_ids, token_mask, times())
    for part in judged:
        assert part.dtype == torch.float32
        assert (part != part.bfloat16()).any()


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS)
def test_a_frame_does_not_depend_on_which_other_frames_are_drawn(model):
    torch.manual_seed(0)
    generator = small_generator(model).double()
    token_ids, token_mask = prompts()
    latents = torch.randn(B, *generator.latent_shape(K), dtype=torch.float64)
    moments = times().double()
    together = generator(latents, token_ids, token_mask, moments)
    for k in range(K):
        alone = generator(latents, token_ids, token_mask, moments[:, k : k + 1])
        torch.testing.assert_close(alone[:, :, 0], together[:, :, k])


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("argument", ["latents", "token_ids", "times"])
def test_the_generator_listens_to_every_input(argument, model):
    torch.manual_seed(0)
    generator = small_generator(model)
    token_ids, token_mask = prompts()
    inputs = {
        "latents": torch.randn(B, *generator.latent_shape(K)),
        "token_ids": token_ids,
        "token_mask": token_mask,
        "times": times(),
    }
    before = generator(**inputs)
    inputs[argument] = (
        torch.where(token_mask, token_ids % (VOCABULARY - 1) + 1, 0)
        if argument == "token_ids"
        else inputs[argument] * 0.5
    )
    assert (generator(**inputs) - before).abs().max() > 1e-4


@pytest.mark.parametrize("argument", ["video", "token_ids", "times"])
def test_the_discriminator_listens_to_every_input(argument):
    torch.manual_seed(0)
    discriminator = small_discriminator()
    token_ids, token_mask = prompts()
    inputs = {
        "video": torch.randn(B, 3, K, H, W),
        "token_ids": token_ids,
        "token_mask": token_mask,
        "times": times(),
    }
    before, _ = discriminator(**inputs)
    inputs[argument] = (
        torch.where(token_mask, token_ids % (VOCABULARY - 1) + 1, 0)
        if argument == "token_ids"
        else inputs[argument] * 0.5
    )
    after, _ = discriminator(**inputs)
    assert ((after - before).abs() > 1e-6).all()


def test_a_discriminator_that_does_not_read_prompts_judges_all_alike():
    torch.manual_seed(0)
    blind = small_discriminator(SMALL.model_copy(update={"discriminator_reads_prompts": False}))
    token_ids, token_mask = prompts()
    video, moments = torch.randn(B, 3, K, H, W), times()
    logits, _ = blind(video, token_ids, token_mask, moments)
    others, _ = blind(video, token_ids.flip(0), token_mask.flip(0), moments)
    assert torch.equal(logits, others)
    assert logits.unique().numel() == B


def test_the_discriminator_notices_the_order_of_frames():
    torch.manual_seed(0)
    discriminator = small_discriminator()
    token_ids, token_mask = prompts()
    video = torch.randn(B, 3, K, H, W)
    moments = times()
    forwards, _ = discriminator(video, token_ids, token_mask, moments)
    backwards, _ = discriminator(video.flip(2), token_ids, token_mask, moments)
    assert ((forwards - backwards).abs() > 1e-6).all()


def test_frames_in_the_wrong_layout_are_refused():
    token_ids, token_mask = prompts()
    with pytest.raises(ValueError, match=r"video has shape .* expected \(7, 3, 4, 32, 48\)"):
        small_discriminator()(torch.randn(B, K, 3, H, W), token_ids, token_mask, times())


@pytest.mark.parametrize(("height", "width", "field"), [(40, 48, "height"), (32, 8, "width")])
def test_sides_must_be_multiples_of_four_patches(height, width, field):
    with pytest.raises(UserError, match=rf"{field}=\d+ must be a multiple of .* = 16"):
        build_generator(SMALL, height=height, width=width, vocabulary_size=VOCABULARY)


def test_patches_join_to_what_was_split_and_keep_their_place():
    video = torch.randn(2, 3, 5, 8, 12)
    patches = split_patches(video, 4)
    assert patches.shape == (10, 2, 3, 48)
    torch.testing.assert_close(join_patches(patches, 4, num_frames=5), video)
    corner = video[1, :, 2, 4:8, 8:12].flatten()  # clip 1, frame 2, patch (1, 2)
    torch.testing.assert_close(patches[1 * 5 + 2, 1, 2], corner)


def test_the_cosine_basis_is_orthogonal_and_damped():
    basis = cosine_basis(4)
    assert basis.shape == (16, 16)
    products = basis @ basis.T
    damping = torch.tensor([1 / (1 + u + v) for u in range(4) for v in range(4)])
    torch.testing.assert_close(products, torch.diag(damping.square()))
    torch.testing.assert_close(basis[0], torch.full((16,), 0.25))  # the mean


def test_moving_a_reference_moves_the_waves_with_it():
    coordinates = MovingCoordinates(code_size=1, num_references=1)
    with torch.no_grad():
        coordinates.to_reference.weight.zero_()
        coordinates.to_reference.bias.zero_()
        still = coordinates(torch.zeros(1, 1))
        shift = 2 * 2 / 8  # two cells of eight, in half frames
        coordinates.to_reference.bias[2] = math.atanh(shift / coordinates.MAX_SHIFT)
        moved = coordinates(torch.zeros(1, 1))
    across, before = moved.waves(1, 8), still.waves(1, 8)
    torch.testing.assert_close(across[:, 2:], before[:, :-2])  # to the right
    torch.testing.assert_close(moved.waves(0, 8), still.waves(0, 8))  # not down


def grid(height: int, width: int) -> Tensor:
    """y, x and their product at every cell, (3, H, W)."""
    y, x = torch.meshgrid(middles(height, CPU), middles(width, CPU), indexing="ij")
    return torch.stack([y, x, x * y])


def test_resampled_maps_show_what_lies_elsewhere_and_nothing_outside():
    slope = torch.tensor([[[0.5, 0.25], [1.0, 0.5]]])  # N K 2
    start = torch.tensor([[[0.3, -0.2], [0.0, 0.0]]])
    seen = resample(grid(20, 30)[None], slope, start, size=(8, 10))[0]
    y, x, _ = grid(8, 10)
    for view, down, across in zip(
        seen.chunk(2, dim=1), (0.5 * y + 0.3, y), (0.25 * x - 0.2, 0.5 * x), strict=True
    ):
        torch.testing.assert_close(view, torch.stack([down, across, down * across]))
    beside = torch.tensor([[[0.0, 2.5]]])
    nothing = resample(torch.ones(1, 1, 4, 4), torch.ones_like(beside), beside, size=(4, 4))
    assert (nothing == 0).all()


def still_sprites(num_sprites: int) -> Sprites:
    """Sprites whose codes are all zero: in the middle, of the usual breadth, on black."""
    sprites = Sprites(code_size=1, num_sprites=num_sprites)
    for parameter in sprites.parameters():
        nn.init.zeros_(parameter)
    return sprites


def opaque(*colour: float) -> Tensor:
    """One drawing of a sprite that fills its canvas, (1, 4, H, W)."""
    return torch.tensor([*colour, 100.0]).view(1, 4, 1, 1).expand(-1, -1, H, W)


def show(sprites: Sprites, drawing: Tensor, *, camera: Tensor | None = None) -> Tensor:
    """Draw two frames, the first and the last, (3, 2, H, W)."""
    code, look = torch.zeros(2, 1), torch.zeros(1, 1)
    return sprites(drawing, code, look, torch.tensor([[0.0, 1.0]]), camera)[0]


def rectangle(y: slice, x: slice, *colour: float) -> Tensor:
    frame = torch.zeros(3, H, W)
    frame[:, y, x] = torch.tensor(colour).view(3, 1, 1)
    return frame


def assert_shows(frame: Tensor, expected: Tensor) -> None:
    """Equal but for a border of a pixel, which is smooth."""
    edge = nn.functional.max_pool2d(expected, 3, 1, 1) != -nn.functional.max_pool2d(
        -expected, 3, 1, 1
    )
    torch.testing.assert_close(frame.where(~edge, 0), expected.where(~edge, 0), atol=1e-5, rtol=0)
    torch.testing.assert_close(frame.sum((1, 2)), expected.sum((1, 2)), rtol=0.02, atol=1e-3)


def test_a_sprite_covers_half_a_frame_and_goes_where_its_code_says():
    sprites = still_sprites(1)
    nn.init.constant_(sprites.to_ground.bias, -0.5)
    ground = torch.full((3, H, W), -0.5)
    middle = rectangle(slice(8, 24), slice(12, 36), 1.5, 1.0, 0.5)  # H, W = 32, 48
    assert_shows(show(sprites, opaque(1.0, 0.5, 0.0))[:, 0] - ground, middle)
    down, right = 4 * 2 / H, 3 * 2 / W  # in half frames
    with torch.no_grad():
        sprites.to_shift.bias.copy_((torch.tensor([down, right]) / sprites.MAX_SHIFT).atanh())
    moved = middle.roll((4, 3), dims=(1, 2))
    assert_shows(show(sprites, opaque(1.0, 0.5, 0.0))[:, 1] - ground, moved)


def test_a_sprite_zooms_straight_from_the_first_frame_to_the_last():
    sprites = still_sprites(3)
    with torch.no_grad():
        sprites.to_breadth.bias.copy_(torch.tensor([-20.0, 0.0, 20.0]))
        sprites.to_growth.bias.copy_(torch.tensor([20.0, -20.0, 0.1]))
    breadth, shift = sprites.places(
        torch.zeros(3, 1), torch.zeros(1, 1), torch.tensor([[0, 0.25, 1]])
    )
    middle = sprites.BREADTH * torch.tensor([0.5, 1.0, 2.0])
    growth = torch.tensor([[0.25, 1.75, 1.0], [0.625, 1.375, 1.0], [1.75, 0.25, 1.0]])  # K R
    torch.testing.assert_close(breadth[0], middle * growth, rtol=1e-3, atol=0)
    assert breadth[0, 2, 2] > breadth[0, 0, 2], "what is hardly asked for is hardly done"
    assert torch.equal(shift, torch.zeros(1, 3, 3, 2))


def area_flicker(breadth: float, *, is_training: bool) -> float:
    """Return the std of a disc's area over its mean, as it moves by parts of a pixel."""
    sprites = still_sprites(1).train(is_training)
    y, x, _ = grid(W, W)  # a square frame
    disc = (20 * (0.6 - (x**2 + y**2).sqrt())).clamp(0, 1)
    sprite = torch.cat([torch.ones(1, 3, W, W), 100 * (disc - 0.5).view(1, 1, W, W)], 1)
    shift = torch.linspace(0, 2 * 2 / W, 9).view(1, 9, 1) * torch.tensor([1.0, 0.3])
    _, alpha = sprites.place(sprite, torch.full((1, 9), breadth), shift)
    area = alpha.sum((3, 4)).flatten()
    return (area.std() / area.mean()).item()


@pytest.mark.parametrize("breadth", [0.2, 0.25, 0.33, 0.5])
def test_a_sprite_keeps_its_area_as_it_moves_by_parts_of_a_pixel(breadth):
    assert area_flicker(breadth, is_training=False) < 0.005


def test_sprites_drawn_small_are_steadier_where_they_are_drawn_to_be_seen():
    seen = area_flicker(0.2, is_training=False)
    assert seen < area_flicker(0.2, is_training=True) / 2


def test_later_sprites_cover_earlier_ones_and_clear_ones_cover_nothing():
    red, green = opaque(1.0, 0.0, 0.0), opaque(0.0, 1.0, 0.0)
    expected = rectangle(slice(8, 24), slice(12, 36), 0.0, 1.0, 0.0)
    sprites = still_sprites(2)
    assert_shows(show(sprites, torch.cat([red, green], 1))[:, 0], expected)
    clear = torch.cat([red[:, :3], -red[:, 3:]], 1)
    assert_shows(show(sprites, torch.cat([green, clear], 1))[:, 0], expected)


def test_a_camera_pans_and_then_zooms_all_sprites():
    camera = torch.tensor([[math.log(1.25), -4 * 2 / H, 4 * 2 / W]])  # four pixels up and right
    seen = show(still_sprites(1), opaque(1.0, 1.0, 1.0), camera=camera)
    assert_shows(seen[:, 0], rectangle(slice(1, 21), slice(14, 44), 1.0, 1.0, 1.0))
    assert torch.equal(seen[:, 0], seen[:, 1])


def test_the_first_latents_are_the_camera():
    torch.manual_seed(0)
    generator = small_generator(FULL)
    with torch.no_grad():
        generator.content[0].weight[:, : FULL.latent_size] = 0  # nothing else reads the latents
    conditions, seen = (*prompts(), times()), []
    generator.sprites.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[-1]))
    latents = torch.randn(B, FULL.latent_size)
    video = generator(latents, *conditions)
    torch.testing.assert_close(seen[0], FULL.camera_variation * latents[:, :3])
    assert (generator(latents * torch.tensor([1, 1, 1, 0, 0]), *conditions) == video).all()
    assert (generator(0 * latents, *conditions) - video).abs().max() > 1e-3


def test_sprites_stay_where_they_are_in_mixed_precision():
    torch.manual_seed(0)
    generator, places = small_generator(FULL), []
    generator.sprites.to_shift.register_forward_hook(lambda *hooked: places.append(hooked[2]))
    inputs = torch.randn(B, *generator.latent_shape(K)), *prompts(), times()
    expected = generator(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        video = generator(*inputs)
    assert video.dtype == torch.float32
    assert torch.equal(*places)
    assert 0 < (video - expected).abs().max() < 0.05, "what is drawn may be rounded"


def test_time_does_nothing_to_sprites_but_move_and_zoom_them():
    torch.manual_seed(0)
    generator = small_generator(FULL)
    nn.init.normal_(generator.to_pixels.to_colours.weight)
    latents = torch.randn(B, *generator.latent_shape(K))
    conditions = *prompts(), times()
    video = generator(latents, *conditions)
    assert (video[:, :, 0] - video[:, :, 1]).abs().amax((1, 2, 3)).min() > 1e-4
    for layer in (generator.sprites.to_shift, generator.sprites.to_growth):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    video = generator(latents, *conditions)
    torch.testing.assert_close(video, video[:, :, :1].expand_as(video))
    assert (video[0] - video[1]).abs().max() > 1e-4


def test_places_mapped_by_axis_are_places_mapped_cell_by_cell():
    torch.manual_seed(0)
    coordinates = MovingCoordinates(code_size=3, num_references=2)
    embedding = PlaceEmbedding(coordinates.size, 4)
    reference = coordinates(torch.randn(2, 3))
    rows, columns, num_waves = 5, 7, 2 * len(MovingCoordinates.FREQUENCIES)
    by_axis = [
        reference.waves(axis, length).view(2, length, 2, num_waves)  # N l R F
        for axis, length in enumerate((rows, columns))
    ]
    down = by_axis[0][:, :, None].expand(-1, -1, columns, -1, -1)
    across = by_axis[1][:, None].expand(-1, rows, -1, -1, -1)
    cells = torch.stack([down, across], dim=4).flatten(3)  # N h w (R axis F)
    every_cell = nn.functional.linear(cells, embedding.weight, embedding.bias)
    torch.testing.assert_close(embedding(reference, rows, columns), every_cell.permute(0, 3, 1, 2))


def test_layers_at_full_resolution_start_silent_and_then_speak():
    torch.manual_seed(0)
    coordinates = MovingCoordinates(code_size=3, num_references=1)
    layer = ToPixels(4, 5, pixel_channels=2, place_size=coordinates.size, code_size=3)
    code, maps = torch.randn(6, 3), torch.randn(6, 5, 2, 3)
    video = layer(maps, coordinates(code), code, num_frames=3)
    assert video.shape == (2, 3, 3, 8, 12)
    assert video.abs().max() == 0
    nn.init.normal_(layer.to_colours.weight)
    assert layer(maps, coordinates(code), code, num_frames=3).flatten(3).std(-1).min() > 0


@pytest.mark.parametrize("patch_size", [2, 4])
def test_a_pixel_reaches_the_patch_it_is_in(patch_size):
    torch.manual_seed(0)
    layer = FromPixels(patch_size, 5, pixel_channels=3)
    video = torch.zeros(1, 3, 2, 8 * patch_size, 4 * patch_size)
    before = layer(video)
    assert before.shape == (2, 5, 8, 4)
    video[0, 0, 1, 3 * patch_size + 1, 2 * patch_size + 1] = 1
    changed = (layer(video) - before).abs().sum(1) > 1e-6
    assert changed[1, 3, 2]
    assert not changed[0].any()
    assert not changed[1, 5:].any()


def test_a_bag_of_words_has_no_order_and_a_transformer_has():
    torch.manual_seed(0)
    token_ids = torch.tensor([[3, 5, 2, 6], [2, 6, 3, 5]])
    for name, encoder in TEXT_ENCODERS.items():
        encoder = encoder(vocabulary_size=VOCABULARY, text_size=16)
        assert torch.allclose(*encoder(token_ids, token_ids > 0), atol=1e-5)  # at the start, both
        for key, parameter in encoder.named_parameters():
            if key == "share":
                torch.nn.init.ones_(parameter)
        assert torch.allclose(*encoder(token_ids, token_ids > 0), atol=1e-5) == (name == "bag")


@pytest.mark.parametrize("name", TEXT_ENCODERS)
def test_padding_does_not_change_a_prompt(name):
    torch.manual_seed(0)
    encoder = TEXT_ENCODERS[name](vocabulary_size=VOCABULARY, text_size=16)
    short = torch.tensor([[3, 5]])
    padded = torch.tensor([[3, 5, 0, 0]])
    torch.testing.assert_close(encoder(short, short > 0), encoder(padded, padded > 0))
