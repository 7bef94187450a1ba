"""Define the actions that a player holds: buttons, phrases and paths."""

from dataclasses import dataclass

import numpy as np

FRICTION = 0.90625  # share of the speed kept per tic on the ground
FORWARD_THRUST = 0.78125  # map units per tic^2, walking
SIDE_THRUST = 0.75
TURN_DEGREES = (1.8, 3.0)  # per tic
CURVE_SHARE = 0.7  # turn rate while walking, relative to turning in place


@dataclass(frozen=True)
class Action:
    """Buttons that the player holds, and four phrases for it."""

    phrases: tuple[str, ...]
    forward: int = 0
    left: int = 0
    turn: int = 0
    """1: counterclockwise (to the left); -1: clockwise."""
    attack: bool = False

    @property
    def moves(self) -> bool:
        """Whether the player's position changes."""
        return bool(self.forward or self.left)

    @property
    def turn_range(self) -> tuple[float, float]:
        """The smallest and largest turn, in degrees per tic to the left."""
        share = self.turn * (CURVE_SHARE if self.moves else 1.0)
        low, high = TURN_DEGREES
        return share * low, share * high


# No phrase is another action's.
ACTIONS = {
    "forward": Action(
        ("walking forward", "moving ahead", "going straight on", "stepping forward"), forward=1
    ),
    "backward": Action(
        ("walking backward", "moving back", "backing away", "retreating"), forward=-1
    ),
    "turn_left": Action(
        ("turning left", "rotating left", "looking to the left", "spinning left"), turn=1
    ),
    "turn_right": Action(
        ("turning right", "rotating right", "looking to the right", "spinning right"), turn=-1
    ),
    "strafe_left": Action(
        ("strafing left", "sidestepping left", "sliding left", "stepping sideways to the left"),
        left=1,
    ),
    "strafe_right": Action(
        ("strafing right", "sidestepping right", "sliding right", "stepping sideways to the right"),
        left=-1,
    ),
    "curve_left": Action(
        (
            *("turning left while walking forward", "walking in a curve to the left"),
            *("walking forward and turning left", "veering left"),
        ),
        forward=1,
        turn=1,
    ),
    "curve_right": Action(
        (
            *("turning right while walking forward", "walking in a curve to the right"),
            *("walking forward and turning right", "veering right"),
        ),
        forward=1,
        turn=-1,
    ),
    "still": Action(("standing still", "waiting", "not moving", "pausing")),
    "shoot": Action(("shooting", "firing the gun", "firing", "pulling the trigger"), attack=True),
}
PLACE_PHRASES = {
    "sky": ("outside", "under the open sky"),
    "dark": ("in the dark", "in a dark room"),
    "brick": ("in a brick hall", "between brick walls"),
    "stone": ("in a stone hall", "between stone walls"),
    "rock": ("in a cave", "between rocks"),
    "metal": ("in a metal hall", "between metal walls"),
    "panels": ("in a base", "between panels"),
    "marble": ("in a marble hall", "between marble walls"),
}
PLACE_SHARE = 0.7  # share of the clips at a known place whose prompts name it


def write_prompt(action: str, place: str | None, numbers: np.ndarray) -> str:
    """Return a clip's prompt, chosen by three numbers in [0, 1)."""
    phrases = ACTIONS[action].phrases
    prompt = phrases[int(numbers[0] * len(phrases))]
    if place is not None and numbers[1] < PLACE_SHARE:
        places = PLACE_PHRASES[place]
        prompt += f" {places[int(numbers[2] * len(places))]}"
    return prompt


def predict_path(action: Action, turn: float, num_tics: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the path of an action from standstill on free, flat ground.

    turn: degrees per tic to the left. Returns positions (num_tics + 1, 2), for a player who
    initially faces along x, and angles (num_tics + 1,) in degrees.
    """
    angles = turn * np.arange(num_tics + 1)
    radians = np.radians(angles[1:])  # per tic: turn, accelerate, move, slow down
    ahead = np.stack([np.cos(radians), np.sin(radians)], axis=-1)
    left = np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1)
    thrust = action.forward * FORWARD_THRUST * ahead + action.left * SIDE_THRUST * left
    positions = np.zeros((num_tics + 1, 2))
    speed = np.zeros(2)
    for tic in range(num_tics):
        speed = speed + thrust[tic]
        positions[tic + 1] = positions[tic] + speed
        speed = speed * FRICTION
    return positions, angles
