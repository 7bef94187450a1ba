"""List the items of each part with their time limits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import join, quote, split

PART_SECONDS = {1: 290.0, 2: 460.0}
"""Limit of all items together; another ten seconds are for starting and installing packages."""
REHEARSAL_FACTOR = 3
"""Factor of all limits in a rehearsal, as its machine may be busy."""
SECONDS = "{seconds}"

BUILD_FEW = "--num-clips 96 --clips-per-shard 12 --size 32x32 --workers 1"
NOT_COMPILED = "--compile off"
"""Compiling takes a minute, which these runs are too short to save; the profiles time it."""
AS_THEY_ARE = ("eager", "graphs", "graphs, approximate penalty")
COMPILED = ("compiled graphs", "compiled")
"""Ways of running a step, named as in `step_profile`; a run's default is first."""
QUICKSTART = f"--sample-every-steps 0 --save-every-steps 4000 {NOT_COMPILED}"
TINY_BATCH = (
    "--train.global-batch-size 8 --train.frames-per-clip 2 --data.num-streams 4"
    " --train.penalty-every-steps 2 --num-cpu-threads 1"
)
TINY_MODEL = f"{TINY_BATCH} --model.channels 4 --model.hidden-size 16"
TINY_PIXELS = f"{TINY_MODEL} --model.pixel-channels 2"
TINY = {
    "quickstart": TINY_MODEL,
    "shapes": TINY_PIXELS,
    "video": f"{TINY_PIXELS} --model.motion-channels 2",
    "video-small": f"{TINY_PIXELS} --model.motion-channels 2",
    "notebook": "--train.global-batch-size 8 --data.num-streams 4 --num-cpu-threads 1",
}
"""Preset -> options of train.py that make its step small."""


@dataclass(frozen=True)
class Item:
    """A command with its own process and time limit."""

    name: str
    seconds: float
    """Time limit; the minimum one for an item that `takes_rest`."""
    command: Sequence[str]
    """Arguments of Python, in which `SECONDS` stands for the limit."""
    record: str = ""
    """Name of the record that it writes, if any."""
    takes_rest: bool = False
    """Whether the limit grows by the time that earlier items did not use."""


@dataclass(frozen=True)
class Plan:
    """Make the items of the check, or of its rehearsal."""

    folder: Path
    """Folder for data and runs."""
    actions_data: Path | None = None
    train_options: str = NOT_COMPILED
    """Additional options of train.py in the second part."""
    rehearse: bool = False

    def path(self, name: str) -> str:
        """Return a path in the folder, for a command line."""
        return quote(str(self.folder / name))

    @property
    def factor(self) -> int:
        """The factor of all limits."""
        return REHEARSAL_FACTOR if self.rehearse else 1

    def items(self, part: int) -> list[Item]:
        """Return what a part runs, in order."""
        items = self.first_part() if part == 1 else self.second_part()
        return [replace(item, seconds=self.factor * item.seconds) for item in items]

    def part_seconds(self, part: int) -> float:
        """Return the limit of all items of a part together."""
        return self.factor * PART_SECONDS[part]

    def first_part(self) -> list[Item]:
        """Tests, the quickstart, step profiles, the notebook's loop, a resumed run.

        The most important items come first, because the limits add up to more than the total.
        Compiled steps of one preset come late, because compiling may use all the remaining time.
        """
        notebook_loop = self.command(
            "training_throughput",
            "--turns 3 --steps-per-turn 100",
            "--turns 1 --steps-per-turn 1 --num-clips 16 --threads 1",
        )
        quickstart = self.command(
            f"quickstart --seeds 0 --data {self.path('circles')} --out {self.path('quickstart')}"
            " --stop-at 0.97 --max-seconds 60",
            f"--options='{QUICKSTART}'",
            f"--options='{TINY_MODEL} --train.num-steps 4 --log-every-steps 2"
            " --evaluate-every-steps 2 --evaluate-num-clips 19'",
        )
        resume = self.command(
            f"gpu_check.resume --data {self.path('few-shapes')} --out {self.path('resume')}",
            f"--options='{NOT_COMPILED}'",
            f"--num-steps 45 --options='{TINY_PIXELS} --sample-every-steps 0'",
        )
        few = "--num-clips 1000 --clips-per-shard 125"
        return [
            Item("environment", 25, self.command("gpu_check.environment"), "environment"),
            self.build("circles", "circles"),
            self.build("shapes", "few-shapes", few),
            self.build("notebook", "notebook", few),
            Item("gpu tests", 60, self.command("gpu_check.gpu_tests"), "gpu_tests"),
            Item("quickstart", 80, quickstart, "quickstart"),
            self.profile("shapes", "few-shapes", AS_THEY_ARE),
            self.profile("quickstart", "circles", AS_THEY_ARE),
            Item("notebook's loop", 40, notebook_loop, "training_throughput"),
            Item("resume", 60, resume, "resume"),
            self.profile("shapes", "few-shapes", COMPILED, seconds=110),
            self.profile("notebook", "notebook", AS_THEY_ARE),
            self.profile("video", "few-shapes", AS_THEY_ARE),
        ]

    def profile(self, preset: str, data: str, ways: Sequence[str], seconds: float = 45) -> Item:
        """Return the profile of a preset's steps, run in some ways."""
        command = self.command(
            f"gpu_check.step_profile --preset {preset} --data {self.path(data)}",
            f"--ways {join(ways)}",
            f"--ways eager --num-steps 1 --options='{TINY[preset]}'",
        )
        what = "compiled" if ways == COMPILED else preset
        return Item(f"step profile, {what}", seconds, command, "step_profile")

    def second_part(self) -> list[Item]:
        """Moving Shapes from scratch, then the actions if their data is given."""
        items = [self.build("shapes", "shapes", "--num-clips 50000", seconds=60)]
        items += self.train_and_evaluate("shapes", self.path("shapes"), 200, 70)
        if self.actions_data:
            items += self.train_and_evaluate("video-small", quote(str(self.actions_data)), 80, 50)
        return items

    def train_and_evaluate(
        self, preset: str, data: str, train_seconds: float, evaluate_seconds: float
    ) -> list[Item]:
        """Return a training run that fits its limit, and its evaluation."""
        name, run_dir = preset.replace("-", "_"), self.path(f"{preset}-run")
        return [
            Item(
                f"train {preset}",
                train_seconds,
                self.command(
                    f"gpu_check.timed_training --preset {preset} --data {data}"
                    f" --out {run_dir} --seconds {SECONDS}",
                    f"{'' if preset == 'shapes' else '--num-evaluations 0'}"
                    f" --options={quote(self.train_options)}",
                    "--num-evaluations 1 --evaluate-num-clips 19 --max-steps 4"
                    f" --options='{TINY[preset]}'",
                ),
                name,
                takes_rest=True,
            ),
            Item(
                f"evaluate {preset}",
                evaluate_seconds,
                self.command(
                    f"gpu_check.evaluation --name {name} --weights {run_dir} --data {data}",
                    "--num-clips 2000 --probe-steps 400",
                    "--num-clips 100 --probe-steps 2",
                ),
                name,
            ),
        ]

    def build(self, scene: str, name: str, options: str = "", seconds: float = 25) -> Item:
        """Return the build of a scene's shards on all cores."""
        frames = "--num-frames 16" if scene == "shapes" else ""
        few = BUILD_FEW if scene != "notebook" else BUILD_FEW.replace("32x32", "64x64")
        return Item(
            f"{scene} data",
            seconds,
            self.command(
                f"data_tools.build_shards {scene} --out {self.path(name)} {frames}",
                options,
                few,
                package="",
            ),
        )

    def command(
        self, common: str, real: str = "", rehearsed: str = "", package: str = "benchmarks."
    ) -> list[str]:
        """Return the arguments of Python for a module with options."""
        return ["-m", *split(f"{package}{common} {rehearsed if self.rehearse else real}")]
