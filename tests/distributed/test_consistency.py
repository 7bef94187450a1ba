"""What differs between ranks is named: fact, values, ranks."""

import pytest
import torch

from t2vgan.config import Config
from t2vgan.config.presets import PRESETS
from t2vgan.distributed import device
from t2vgan.distributed.consistency import (
    check_agreement,
    describe_config,
    describe_software,
    find_differences,
)
from t2vgan.errors import UserError

CPU = torch.device("cpu")


class Ranks:
    """Stands for several processes, each with its facts."""

    def __init__(self, *facts):
        self.gather_objects = lambda own: list(facts)
        self.shared_error = UserError


def test_the_odd_rank_is_named_with_both_values():
    same = {"torch": "2.14", "--train.seed": "0"}
    assert find_differences([same] * 4) == []
    by_rank = [same, same | {"--train.seed": "1"}, same, same | {"torch": "2.11"}]
    assert find_differences(by_rank) == [
        "torch is 2.14, but 2.11 on rank 3",
        "--train.seed is 0, but 1 on rank 1",
    ]


def test_the_majority_is_right_even_against_the_main_rank():
    facts = [{"numpy": "1"}, *[{"numpy": "2"}] * 9]
    assert find_differences(facts) == ["numpy is 2, but 1 on rank 0"]
    assert find_differences(facts[::-1]) == ["numpy is 2, but 1 on rank 9"]


def test_what_a_rank_lacks_differs_too():
    assert find_differences([{"code train.py": "ab"}, {}]) == [
        "code train.py is ab, but missing on rank 1"
    ]


def test_many_ranks_and_facts_stay_one_line():
    one, other = ({f"code {name}.py": value for name in "abcde"} for value in ("1", "2"))
    with pytest.raises(UserError) as caught:
        check_agreement(Ranks(*[one] * 30, *[other] * 20), one)
    message = str(caught.value)
    assert "code a.py is 1, but 2 on rank 30, 31, 32, 33, 34, 35, 36, 37 ...; code b.py" in message
    assert "(and 2 others)" in message
    assert "\n" not in message
    three, changed = ({name: facts[name] for name in list(facts)[:3]} for facts in (one, other))
    with pytest.raises(UserError, match=r"code c\.py is 1, but 2 on rank 1; start every rank"):
        check_agreement(Ranks(three, changed), three)


def test_any_option_shows_but_those_of_a_node():
    config = Config()
    facts = describe_config(config, CPU)
    train = config.train.model_copy(update={"seed": 1})
    data = config.data.model_copy(update={"path": "/elsewhere"})
    moved = config.model_copy(update={"data": data, "num_cpu_threads": 3})
    assert describe_config(moved, CPU) == facts
    changed = describe_config(config.model_copy(update={"train": train}), CPU)
    assert find_differences([facts, changed]) == ["--train.seed is 0, but 1 on rank 1"]
    presets = [describe_config(PRESETS[name], CPU) for name in ("quickstart", "notebook")]
    assert "--model.kind is clip_gan, but notebook_gan on rank 1" in find_differences(presets)


def test_the_precision_on_the_device_shows(monkeypatch):
    config = Config()
    facts = []
    for computes in (True, False):
        monkeypatch.setattr(device, "cpu_computes_bfloat16", lambda computes=computes: computes)
        facts.append(describe_config(config, CPU))
    (text,) = find_differences(facts)
    assert text.endswith("is bfloat16, but float32 on rank 1")


def test_our_sources_are_among_the_facts():
    facts = describe_software()
    code = {"code t2vgan/commands/train.py", "code t2vgan/training/preflight/link.py"}
    assert {"python", "torch", *code} <= set(facts)
    assert all(type(value) is str for value in facts.values())
