"""Read the environment variables that a launcher sets for each process.

Every launcher (torchrun, accelerate, launch/slurm, launch/kubernetes) sets RANK, WORLD_SIZE,
LOCAL_RANK, and MASTER_ADDR and MASTER_PORT, where rank 0 listens; accelerate also sets
ACCELERATE_... for each of its options.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from t2vgan.errors import UserError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
LARGEST_PORT = 65_535
OFF = ("", "0", "false", "f", "no", "n", "none", "off")
WHOLE_NETWORKS = "every process trains whole networks"
REFUSED = {
    "ACCELERATE_DYNAMO_BACKEND": "use --compile on",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "use --train.micro-batch-size",
    "ACCELERATE_GRADIENT_CLIPPING": "use --train.gradient-clip",
    "ACCELERATE_TORCH_DEVICE": "use ACCELERATE_USE_CPU=true or CUDA_VISIBLE_DEVICES",
}
"""Variable of accelerate that is not supported -> what to use instead."""


@dataclass(frozen=True)
class LauncherEnv:
    """The variables that a launcher sets for one of several processes."""

    rank: int
    world_size: int
    local_rank: int
    master_addr: str
    master_port: int
    has_agent: bool = False
    """Whether torchrun's agent, not rank 0, serves the store; it also assigns the ranks."""

    @property
    def master(self) -> str:
        return f"{self.master_addr}:{self.master_port}"


def read_launcher_env(variables: Mapping[str, str]) -> LauncherEnv | None:
    """Parse the launcher's variables; return None for a single process.

    Raises:
        UserError: a variable is missing, or is not a valid number.
    """
    if variables.get("WORLD_SIZE", "1") == "1":
        return None
    missing = [name for name in VARIABLES if not variables.get(name)]
    if missing:
        raise UserError(
            f"WORLD_SIZE={variables['WORLD_SIZE']} needs {', '.join(missing)} as well; torchrun,"
            " accelerate launch and the files in launch/ set all of them (docs/cluster.md)"
        )
    rank, world_size, local_rank, port = (
        read_number(variables, name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")
    )
    if rank >= world_size:
        raise UserError(f"RANK={rank} must be less than WORLD_SIZE={world_size}")
    if not 0 < port <= LARGEST_PORT:
        raise UserError(f"MASTER_PORT={port} must be between 1 and {LARGEST_PORT}")
    return LauncherEnv(
        rank,
        world_size,
        local_rank,
        variables["MASTER_ADDR"],
        port,
        has_agent=variables.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )


def read_number(variables: Mapping[str, str], name: str) -> int:
    if not variables[name].isdecimal():
        raise UserError(f"{name}={variables[name]} must be a whole number")
    return int(variables[name])


def check_accelerate_settings(variables: Mapping[str, str]) -> None:
    """Refuse settings of accelerate that affect training but are not supported.

    ACCELERATE_USE_CPU and ACCELERATE_MIXED_PRECISION (`choose_precision`) are supported.

    Raises:
        UserError: naming the variable, and the remedy.
    """
    for name, value in sorted(variables.items()):
        is_switch = name.startswith("ACCELERATE_USE_") and name != "ACCELERATE_USE_CPU"
        if not is_switch and name not in REFUSED:
            continue
        is_one_step = name.endswith("_STEPS") and value == "1"
        if value.lower() not in OFF and not is_one_step:
            raise UserError(
                f"{name}={value} is not supported ({REFUSED.get(name, WHOLE_NETWORKS)}); leave it"
                " out of accelerate's options, its config file and the environment"
            )
