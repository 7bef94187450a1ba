"""Draw the documentation's pictures of scenes: `python -m dev.gallery`."""

from pathlib import Path

from data_tools.build.scene_build import BuildPlan
from data_tools.scenes import shapes
from data_tools.scenes.base import FPS
from t2vgan.data.shards import Geometry
from t2vgan.media import contact_sheet, save_clip
from t2vgan.utils import cli
from t2vgan.utils.console import print_stdout

SIDE, NUM_FRAMES, SEED = 64, 16, 0
COLUMNS = 4
PLAIN = {"size": "large", "colour": "blue", "shape": "circle", "motion": "moving right"}


def gallery(out: Path = Path("docs/gallery")) -> None:
    """Draw all attribute values and clips of further scenes as GIFs.

    Args:
        out: The folder for the GIFs.
    """
    geometry = Geometry(num_frames=NUM_FRAMES, height=SIDE, width=SIDE)
    known_values = {
        "shape": list(shapes.SHAPES),
        "colour": list(shapes.COLOURS),
        "size": list(shapes.SIZES),
        "motion": list(shapes.MOTIONS),
    }
    sheets: dict[str, tuple[str, list[str], list[str]]] = {
        f"shapes-{name}": ("shapes", [example_prompt(**{name: value}) for value in known], known)
        for name, known in known_values.items()
    }
    sheets |= {scene: (scene, [], []) for scene in ("shapes-textured", "shapes-two")}
    for name, (scene, prompts, labels) in sheets.items():
        module = BuildPlan(scene, 1, 1, geometry, SEED).module
        num_clips = len(prompts) or 2 * COLUMNS
        clips = module.render_clips(range(num_clips), SEED, geometry, prompts=prompts)
        scale = 2 if labels else 3  # whole prompts need the room
        sheet = contact_sheet(clips.frames, labels or clips.prompts, columns=COLUMNS, scale=scale)
        save_clip(out / f"{name}.gif", sheet, fps=FPS)
        print_stdout(f"wrote {out / f'{name}.gif'}")


def example_prompt(**changes: str) -> str:
    """Return the prompt of a large blue circle moving right, changed."""
    values = PLAIN | changes
    shape, colour, size, motion = (values[name] for name in shapes.ATTRIBUTES)
    return shapes.write((shape, colour, size, motion), shapes.TEMPLATES[0])


if __name__ == "__main__":
    cli.run(lambda: cli.call(gallery))
