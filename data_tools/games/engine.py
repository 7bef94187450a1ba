"""Run ViZDoom with its bundled Freedoom levels.

It renders in software, without a window or sound.
"""

from pathlib import Path

import numpy as np

from .actions import Action
from .free_space import Start

WAD = "freedoom2.wad"
ARGUMENTS = (
    "-nomonsters +sv_cheats 1 +sv_infiniteammo 1 +neverswitchonpickup 1"
    " +cl_showsecretmessage 0 +con_notifytime 0"
)
RAISING_TICS = 35  # until the pistol is raised
STOPPING_TICS = 24  # until the player stands still
SETTLING_TICS = 12  # to wait after a jump to another place
HELD_STILL = Action(phrases=())


def wad_path() -> Path:
    """Return the file of the bundled levels."""
    import vizdoom

    return Path(vizdoom.__file__).parent / WAD


class Engine:
    """A game that is advanced on request, in tics of 1/35 second."""

    def __init__(self, config: Path, level: str):
        """Start the engine's process, which reads and writes `config`."""
        import vizdoom

        game = vizdoom.DoomGame()
        game.set_doom_game_path(str(wad_path()))
        game.set_doom_config_path(str(config))
        game.set_doom_map(level)
        game.set_mode(vizdoom.Mode.PLAYER)
        game.set_screen_resolution(vizdoom.ScreenResolution.RES_320X240)
        game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        game.set_render_hud(False)
        game.set_render_crosshair(False)
        game.set_render_messages(False)
        game.set_render_particles(False)
        game.set_render_screen_flashes(False)
        game.set_window_visible(False)
        game.set_sound_enabled(False)
        button, variable = vizdoom.Button, vizdoom.GameVariable
        game.set_available_buttons(
            [
                *(button.MOVE_FORWARD, button.MOVE_BACKWARD, button.MOVE_LEFT, button.MOVE_RIGHT),
                *(button.ATTACK, button.TURN_LEFT_RIGHT_DELTA),
            ]
        )
        self._variables = (variable.POSITION_X, variable.POSITION_Y, variable.ANGLE)
        self._weapon = variable.SELECTED_WEAPON
        game.set_available_game_variables([*self._variables, self._weapon])
        game.set_episode_timeout(0)
        game.add_game_args(ARGUMENTS)
        game.init()
        self._game = game

    def start_episode(self, level: str, seed: int) -> None:
        """Reload a level.

        The episode is then a function of level, seed and commands.
        """
        self._game.set_doom_map(level)
        self._game.set_seed(seed)
        self._game.new_episode()
        self._game.send_game_command("god")
        self.hold(HELD_STILL, 0.0, RAISING_TICS)

    def jump(self, start: Start) -> None:
        """Move the player to a start, at rest."""
        self.hold(HELD_STILL, 0.0, STOPPING_TICS)
        self._game.send_game_command(f"warp {start.x:.1f} {start.y:.1f}")
        self.hold(HELD_STILL, 0.0, 1)
        turn = (start.angle - self.position()[2] + 180) % 360 - 180
        self.hold(HELD_STILL, turn, 1)
        self.hold(HELD_STILL, 0.0, SETTLING_TICS)

    def hold(self, action: Action, turn: float, num_tics: int) -> None:
        """Hold an action's buttons for some tics.

        turn: degrees to the left in each tic.
        """
        self._game.make_action(
            [
                *(action.forward > 0, action.forward < 0, action.left > 0, action.left < 0),
                *(action.attack, -turn),
            ],
            num_tics,
        )

    def picture(self) -> np.ndarray:
        """Return the player's view, (240, 320, 3) uint8 RGB."""
        return self._game.get_state().screen_buffer

    def position(self) -> tuple[float, float, float]:
        """Return x and y in map units and the angle in degrees."""
        x, y, angle = (self._game.get_game_variable(variable) for variable in self._variables)
        return x, y, angle

    @property
    def weapon(self) -> int:
        """The slot of the player's weapon; 2 is the pistol."""
        return int(self._game.get_game_variable(self._weapon))

    @property
    def has_ended(self) -> bool:
        """Whether the episode cannot go on."""
        return self._game.is_episode_finished() or self._game.is_player_dead()

    def close(self) -> None:
        """End the engine's process."""
        self._game.close()


def installed_version() -> str:
    """Return ViZDoom's version, or "" where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("vizdoom")
    except PackageNotFoundError:
        return ""
