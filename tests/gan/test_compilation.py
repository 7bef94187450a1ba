"""Compiled networks train as eager ones do, and what lacks a compiler says so."""

import dataclasses
import os

import pytest
import torch
from torch._dynamo.utils import counters
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.lowering import lowerings
from torch.fx.experimental.proxy_tensor import make_fx

from t2vgan.config import NotebookGanConfig, TrainConfig
from t2vgan.errors import UserError
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.gan.batch import MicroBatch
from t2vgan.gan.compilation import (
    CACHE_VARIABLE,
    CompiledFunction,
    choose_compilation,
    find_obstacle,
    prepare_compiler,
)
from tests.support.gan_steps import SIZES, SPRITES, VOCABULARY, B, K, R, make_batch, to_single
from tests.system.gradients import gradients_of

CPU = torch.device("cpu")
NOTEBOOK = {"model": NotebookGanConfig(), "height": 64, "width": 64, "vocabulary_size": VOCABULARY}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Compile anew: what an earlier version left must not answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("compiled")))
        yield


def make_pair(processes, sizes: dict, **options) -> tuple[AdversarialTraining, AdversarialTraining]:
    """Return an eager and a compiled training of the same weights."""
    train = TrainConfig(
        global_batch_size=B, precision="no", num_steps=100, penalty_every_steps=3, **options
    )
    eager, compiled = (
        AdversarialTraining(sizes["model"], train, processes, **{k: sizes[k] for k in SIZES})
        for _ in range(2)
    )
    compiled.compile_networks()
    return eager, compiled


def compare(eager, compiled, batch: MicroBatch, step: int, within: float) -> None:
    expected, found = (gradients_of(gan, [batch], step) for gan in (eager, compiled))
    assert found.keys() == expected.keys()
    for network in compiled.optimizers:
        names = [name for name in found if name.startswith(network)]
        errors = torch.cat([(found[name] - expected[name]).flatten() for name in names])
        length = torch.cat([expected[name].flatten() for name in names]).norm()
        assert errors.norm() <= within * length, (step, network)


@pytest.mark.system  # tracing takes half a minute
@pytest.mark.parametrize("penalty", ["exact", "approximate"])
def test_steps_are_whole_graphs_and_compile_once(penalty, processes):
    """Traced, but run by PyTorch itself: steps 0, 3, 6 and 9 have the penalty.

    Names of weights and the averaged network know nothing of it.
    """
    options = {"frames_per_clip": K, "recovered_latents": R, "penalty": penalty}
    eager, compiled = make_pair(processes, SIZES | {"model": SPRITES}, **options)
    for name, network in compiled.networks.items():
        assert network.state_dict().keys() == eager.networks[name].state_dict().keys()
    assert "forward" not in vars(compiled.ema.model)
    torch._dynamo.reset()
    counters.clear()
    batches = [to_single(make_batch(0, noise=is_noisy)) for is_noisy in (True, False)]
    with torch.compiler.set_stance("default", force_backend="aot_eager"):
        for step in range(10):
            compare(eager, compiled, batches[step % 3 != 0], step, within=1e-6)
            if step == 1:
                num_graphs = counters["stats"]["unique_graphs"]
    assert num_graphs == 5  # of two passes of the generator and three of the discriminator
    assert counters["stats"]["unique_graphs"] == num_graphs


@pytest.mark.system  # compiling takes a minute
@pytest.mark.parametrize("penalty", ["exact", "approximate"])
def test_compiled_arithmetic_is_that_of_pytorch(penalty, processes):
    """Of the notebook's networks, which have few kernels to compile."""
    options = {"frames_per_clip": 1, "recovered_latents": 0, "mismatched_weight": 0.0}
    options |= {"standardize": False, "augment": 0.0, "loss": "bce", "penalty": penalty}
    eager, compiled = make_pair(processes, NOTEBOOK, **options)
    generator = torch.Generator().manual_seed(0)
    batch = dataclasses.replace(
        to_single(make_batch()),
        real_video=torch.randn(B, 3, 1, 64, 64, generator=generator),
        discriminator_latents=torch.randn(B, 1, 100, generator=generator),
        generator_latents=torch.randn(B, 1, 100, generator=generator),
        times=torch.zeros(B, 1),
        penalty_noise=torch.randn(B // 4, 2, 3, 1, 64, 64, generator=generator),
    )
    for step in (0, 1):
        # Of finite differences, rounding is divided by PENALTY_SHIFT.
        compare(eager, compiled, batch, step, within=1e-5 if penalty == "exact" else 1e-4)


@pytest.mark.parametrize(
    ("requested", "before", "expected"),
    [
        ("auto", None, False), ("auto", False, False), ("auto", True, True),
        ("on", None, True), ("on", False, True), ("on", True, True),
        ("off", None, False), ("off", False, False), ("off", True, False),
    ],
)  # fmt: skip
def test_a_resumed_run_goes_on_as_it_was_or_says_otherwise(requested, before, expected):
    is_compiled, message = choose_compilation(requested, CPU, before=before)
    assert is_compiled == expected
    changed = before is not None and before != expected
    assert ("last digits" in message) == changed
    assert bool(message) == changed


def test_without_a_compiler_on_is_refused_and_auto_goes_on(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"^compile=on: the C\+\+ compiler no-such.*; use"):
        choose_compilation("on", CPU, before=None)
    is_compiled, message = choose_compilation("auto", CPU, before=True)
    assert not is_compiled
    assert (
        "not compiled from here on (the C++ compiler no-such-compiler is not installed" in message
    )
    assert choose_compilation("off", CPU, before=None) == (False, "")


def test_a_cache_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "folder"))
    assert "does not work here" in find_obstacle(CPU)


def test_compiled_code_is_kept_in_the_users_own_cache(monkeypatch, tmp_path):
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    prepare_compiler()
    assert os.environ[CACHE_VARIABLE] == str(tmp_path / ".cache/t2vgan/compiled")


def test_compiled_gradients_of_embeddings_add_up_in_a_fixed_order():
    """What takes their place, an index_put, would add atomically on a GPU."""
    prepare_compiler()
    operation = torch.ops.aten.embedding_dense_backward.default
    inputs = torch.ones(2, 2, 4), torch.tensor([[0, 3], [3, 3]]), 5, -1, False
    graph = make_fx(operation, decomposition_table=select_decomp_table())(*inputs).graph
    assert operation in {node.target for node in graph.nodes}
    assert operation in lowerings


def test_what_the_compiler_fails_at_is_run_without_it_if_optional(capsys):
    def broken(values: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return 2 * values

    function = CompiledFunction(broken, is_optional=True)
    for _ in range(2):
        assert function(torch.ones(3)).tolist() == [2, 2, 2]
    assert capsys.readouterr().err.count("not compiled, so slower: the compiler failed (") == 1
    with pytest.raises(torch._dynamo.exc.TorchDynamoException):
        CompiledFunction(broken)(torch.ones(3))
