"""What launchers set: read, obeyed or refused."""

import pytest

from t2vgan.distributed.launcher_env import (
    LauncherEnv,
    check_accelerate_settings,
    read_launcher_env,
)
from t2vgan.errors import UserError

SET = {
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


def test_what_a_launcher_sets_is_read():
    env = read_launcher_env(SET | {"WORLD_SIZE": "4", "LOCAL_RANK": "0", "MASTER_PORT": "65535"})
    assert env == LauncherEnv(1, 4, 0, "127.0.0.1", 65_535, has_agent=False)
    assert env.master == "127.0.0.1:65535"
    elastic = {"TORCHELASTIC_USE_AGENT_STORE": "True"}
    env = read_launcher_env(SET | elastic | {"RANK": "0", "MASTER_PORT": "1"})
    assert env == LauncherEnv(0, 2, 1, "127.0.0.1", 1, has_agent=True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"MASTER_ADDR": ""}, "WORLD_SIZE=2 needs MASTER_ADDR as well"),
        ({"RANK": "", "MASTER_PORT": ""}, "WORLD_SIZE=2 needs RANK, MASTER_PORT as well"),
        ({"RANK": "2"}, "RANK=2 must be less than WORLD_SIZE=2"),
        ({"MASTER_PORT": "99999"}, "MASTER_PORT=99999 must be between 1 and 65535"),
        ({"MASTER_PORT": "0"}, "MASTER_PORT=0 must be between 1 and 65535"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT=http must be a whole number"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two must be a whole number"),
    ],
)
def test_variables_that_do_not_fit(changes, expected):
    with pytest.raises(UserError, match=expected):
        read_launcher_env(SET | changes)


def test_a_single_process_needs_no_variables():
    assert read_launcher_env({}) is None
    assert read_launcher_env({"WORLD_SIZE": "1", "RANK": "0"}) is None


# --- settings that reach accelerate from outside ------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR"),
        ("ACCELERATE_USE_DEEPSPEED", "true"),
        ("ACCELERATE_USE_FSDP", "1"),
        ("ACCELERATE_USE_MEGATRON_LM", "true"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "true"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4"),
        ("ACCELERATE_GRADIENT_CLIPPING", "1.0"),
        ("ACCELERATE_TORCH_DEVICE", "cpu"),
    ],
)
def test_settings_that_are_not_obeyed_are_refused(name, value):
    with pytest.raises(UserError, match=f"^{name}={value} is not supported .*; leave it out of"):
        check_accelerate_settings({name: value})


def test_what_accelerate_launch_sets_by_default_is_no_reason_to_refuse():
    check_accelerate_settings(
        {
            "ACCELERATE_USE_CPU": "True",
            "ACCELERATE_MIXED_PRECISION": "bf16",
            "ACCELERATE_DYNAMO_BACKEND": "NO",
            "ACCELERATE_DYNAMO_MODE": "default",
            "ACCELERATE_DYNAMO_USE_FULLGRAPH": "False",
            "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1",
            "ACCELERATE_USE_FSDP": "false",
            "ACCELERATE_DEBUG_MODE": "true",
        }
    )
