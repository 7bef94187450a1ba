"""Pictures of what the scenes show, for the documentation: `python -m data_tools.gallery`."""

from pathlib import Path

from t2vgan.utils import cli

from .build.options import command_line

SIDE, NUM_FRAMES, SEED = 64, 16, 0
COLUMNS = 4
PLAIN = {"size": "large", "colour": "blue", "shape": "circle", "motion": "moving right"}


def main() -> None:
    """Draw what the command line asks for."""
    cli.call(gallery, prog=command_line("gallery"))


def gallery(out: Path = Path("docs/gallery")) -> None:
    """Draw every value of every attribute, and some clips of each further scene, as GIFs.

    Args:
        out: The folder for the GIFs.
    """
    from t2vgan.data.shards import Geometry
    from t2vgan.media import contact_sheet, save_clip

    from .build.scene_build import BuildPlan
    from .scenes import shapes
    from .scenes.base import FPS

    geometry = Geometry(num_frames=NUM_FRAMES, height=SIDE, width=SIDE)
    values = {
        "shape": list(shapes.SHAPES),
        "colour": list(shapes.COLOURS),
        "size": list(shapes.SIZES),
        "motion": list(shapes.MOTIONS),
    }
    sheets: dict[str, tuple[str, list[str] | None, list[str] | None]] = {
        f"shapes-{name}": ("shapes", [prompt_of(**{name: value}) for value in known], known)
        for name, known in values.items()
    }
    sheets |= {scene: (scene, None, None) for scene in ("shapes-textured", "shapes-two", "digits")}
    for name, (scene, prompts, labels) in sheets.items():
        module = BuildPlan(scene, 1, 1, geometry, SEED).module
        num_clips = len(prompts) if prompts else 2 * COLUMNS
        clips = module.render_clips(range(num_clips), SEED, geometry, prompts=prompts)
        scale = 2 if labels else 3  # whole prompts need the room
        sheet = contact_sheet(clips.frames, labels or clips.prompts, columns=COLUMNS, scale=scale)
        save_clip(out / f"{name}.gif", sheet, fps=FPS)
        print(f"wrote {out / f'{name}.gif'}")


def prompt_of(**changes: str) -> str:
    """Return the prompt of a large blue circle moving right, with other values where given."""
    from .scenes import shapes

    said = PLAIN | changes
    shape, colour, size, motion = (said[name] for name in shapes.ATTRIBUTES)
    return shapes.write((shape, colour, size, motion), shapes.TEMPLATES[0])


if __name__ == "__main__":
    cli.run(main)
