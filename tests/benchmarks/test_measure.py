"""How benchmarks sum up: the arithmetic behind every claimed ratio."""

import time

from benchmarks.measure import Turn, run_turns, summarise, time_turn


def test_rates_are_medians_and_ratios_those_of_the_turns():
    turns = {
        "old": [Turn(2.0, 4.0), Turn(20.0, 4.4), Turn(4.0, 4.2)],
        "new": [Turn(1.0, 1.0), Turn(5.0, 1.1), Turn(4.0, 2.1)],
    }
    old, new = summarise(turns, count=100).values()
    assert (old["median"], old["lowest"], old["highest"]) == (25, 5, 50)
    assert new["rates"] == [100, 20, 25]
    assert new["ratio"] == 2  # of 2, 4 and 1: greater is faster than the first way
    assert new["processor_ratio"] == 4
    assert new["processor_us"] == 11_000
    assert old["ratio"] == old["processor_ratio"] == 1


def test_every_way_has_its_turn_and_waiting_costs_no_processor_time():
    calls = []
    ways = {name: lambda name=name: calls.append(name) for name in "ab"}
    timed_turns = run_turns(ways, 2)
    assert calls == ["a", "b", "a", "b"]
    assert [len(row) for row in timed_turns.values()] == [2, 2]
    turn = time_turn(lambda: time.sleep(0.05))
    assert turn.seconds >= 0.05 > turn.processor_seconds
