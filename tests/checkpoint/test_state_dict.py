"""A restored run goes on bit for bit, and misfits are named."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from t2vgan.checkpoint.state_dict import find_latest_step, load_checkpoint, save_checkpoint
from t2vgan.errors import UserError
from tests.support.saved_runs import STATE, Run, assert_same, contents, steps


@pytest.mark.parametrize("adam", [{}, {"amsgrad": True}, {"fused": True}], ids=str)
def test_a_restored_run_goes_on_bit_for_bit(tmp_path, adam):
    run = Run(seed=0, **adam).train(range(3))
    run.save(tmp_path, 3)
    restored = Run(seed=1, **adam).train(range(50, 51))
    assert restored.load(tmp_path) == STATE | {"step": 3}
    assert_same(run, restored)
    assert_same(run.train(range(3, 6)), restored.train(range(3, 6)))


def test_before_the_first_step_the_optimizers_are_empty_again(tmp_path):
    run = Run(seed=0)
    run.save(tmp_path, 0)
    restored = Run(seed=1).train(range(2))
    restored.load(tmp_path)
    assert all(not optimizer.state for optimizer in restored.optimizers.values())
    assert_same(run.train(range(2)), restored.train(range(2)))


def test_optimizer_tensors_are_stored_by_parameter_name(tmp_path):
    folder = Run().train(range(1)).save(tmp_path, 1)
    run = Run(seed=1)
    parameters = list(run.modules["generator"].parameters())
    backwards = torch.optim.Adam(
        [{"params": parameters[2:], "lr": 0.5}, {"params": parameters[1::-1], "lr": 0.25}]
    )
    load_checkpoint(tmp_path, 1, run.modules, {"generator": backwards})
    assert backwards.state[parameters[0]]["exp_avg"].shape == parameters[0].shape
    assert [group["lr"] for group in backwards.param_groups] == [0.5, 0.25]  # not restored
    assert b"generator.0.weight/exp_avg_sq" in contents(folder)["generator_optimizer.safetensors"]


def test_tensors_already_live_keep_their_identity(tmp_path):
    Run().save(tmp_path, 1)
    run = Run(seed=1)
    before = {id(parameter) for parameter in run.modules["generator"].parameters()}
    run.load(tmp_path)
    assert {id(parameter) for parameter in run.modules["generator"].parameters()} == before


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(state=st.dictionaries(st.text(), json_values, max_size=4))
def test_any_json_state_comes_back(tmp_path_factory, state):
    run_dir = tmp_path_factory.mktemp("state")
    save_checkpoint(run_dir, 1, {}, state)
    assert load_checkpoint(run_dir, 1, {}, {}) == state


def test_the_same_state_gives_the_same_bytes(tmp_path):
    run = Run().train(range(2))
    found = contents(run.save(tmp_path / "a", 2))
    assert found == contents(run.save(tmp_path / "b", 2))
    files = list(json.loads(found["MANIFEST.json"])["files"])
    assert files == sorted(files), "not in the order of the file system"


def test_there_is_no_pickle(tmp_path):
    for name, data in contents(Run().train(range(1)).save(tmp_path, 1)).items():
        assert name.endswith((".safetensors", ".json"))
        assert not data.startswith((b"\x80", b"PK"))


def test_a_run_without_checkpoints_starts_from_the_beginning(tmp_path):
    assert find_latest_step(tmp_path / "nowhere") is None
    assert Run().load(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "module", "answer"),
    [
        ("discriminator", nn.Linear(5, 1, bias=False),
         "discriminator.weight is (1, 4) float32 in the checkpoint but (1, 5) float32"),
        ("discriminator", nn.Linear(4, 1),
         "discriminator.bias is absent in the checkpoint but (1,) float32"),
        ("generator_ema", nn.Linear(2, 2, bias=False),
         "generator_ema.bias is (2,) float32 in the checkpoint but absent"),
        ("generator_ema", nn.Linear(2, 2).double(),
         "generator_ema.bias is (2,) float32 in the checkpoint but (2,) float64"),
        ("text_encoder", nn.Linear(2, 2), "text_encoder.safetensors is missing"),
    ],
)  # fmt: skip
def test_a_misfit_names_the_tensor_and_changes_nothing(tmp_path, name, module, answer):
    Run().train(range(1)).save(tmp_path, 1)
    run = Run(seed=1)
    run.modules[name] = module
    run.optimizers.pop("discriminator")
    before = run.tensors()
    with pytest.raises(UserError) as caught:
        run.load(tmp_path)
    assert answer in str(caught.value)
    assert "step_00000001 does not fit these options" in str(caught.value)
    after = run.tensors()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert steps(tmp_path) == [1]  # it is not damaged


def test_an_optimizer_misfit_names_the_tensor(tmp_path):
    run = Run().train(range(1))
    state = run.optimizers["discriminator"].state[run.modules["discriminator"].weight]
    state["exp_avg"] = torch.zeros(1, 5)
    run.save(tmp_path, 1)
    answer = r"discriminator_optimizer\.discriminator\.weight/exp_avg is \(1, 5\).* but \(1, 4\)"
    with pytest.raises(UserError, match=answer):
        Run().load(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("exp_avg", torch.zeros(1, 4, dtype=torch.int8), r"\(1, 4\) int8"),
        ("exp_avg_sq", torch.zeros(1, 4, dtype=torch.float64), r"\(1, 4\) float64"),
        ("exp_avg_sq", torch.zeros(()), r"\(\) float32"),
        ("step", torch.zeros((), dtype=torch.int64), r"\(\) int64"),
        ("exp_avg", None, "absent"),
        ("step", None, "absent"),
        ("other", torch.zeros(1, 4), r"\(1, 4\) float32"),
    ],
)
def test_optimizer_state_is_that_of_adam(tmp_path, key, value, found):
    run = Run().train(range(1))
    state = run.optimizers["discriminator"].state[run.modules["discriminator"].weight]
    state[key] = value
    if value is None:
        del state[key]
    run.save(tmp_path, 1)
    with pytest.raises(
        UserError, match=rf"discriminator\.weight/{key} is {found} in the checkpoint"
    ):
        Run().load(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_network_that_holds_no_numbers_is_refused(tmp_path, value):
    run = Run()
    run.modules["generator_ema"].weight[1, 1] = value
    run.save(tmp_path, 1)
    other = Run(seed=1)
    before = other.tensors()
    with pytest.raises(UserError, match=r"generator_ema.*weight holds NaN or inf.*move this check"):
        other.load(tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in other.tensors().items())


def test_optimizer_state_of_an_unknown_parameter_is_named(tmp_path):
    Run().train(range(1)).save(tmp_path, 1)
    run = Run()
    run.optimizers["generator"] = torch.optim.Adam([run.modules["generator"][0].weight])
    with pytest.raises(UserError, match=r"generator\.0\.bias/exp_avg is \(4,\) float32 .* absent"):
        run.load(tmp_path)
