"""Blocks of steps: fixed, and planned by the speed of those before, with a clock that the test moves."""

import numpy as np
import pytest

import pushforward as pf
from pushforward.train import blocks
from pushforward.train.blocks import Blocks, Position, TimedBlocks


class Clock:
    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


def run(monkeypatch, timed, step, validation, position=None):
    """The blocks of a run whose steps and validations take so many seconds; and the planned ends after each."""
    clock = Clock()
    monkeypatch.setattr(blocks, "time", clock)
    sizes, planned = [], []
    for _, block in timed.since(position or Position()):
        clock.now += len(block.steps) * step(block.steps.start) + validation
        sizes.append(len(block.steps))
        timed.measured(len(block.steps) * step(block.steps.start), validation)
        planned.append(timed.n_steps)
    return sizes, planned, clock.now - 100.0


def test_fixed_blocks_cover_all_steps():
    taken = [block.steps for _, block in Blocks(103, 10).since(Position())]
    assert [step for steps in taken for step in steps] == list(range(103))
    assert [index for index, _ in Blocks(103, 10).since(Position(7, 72))] == [7, 8, 9]


@pytest.mark.parametrize(("step", "validation"), [(0.01, 0.0), (0.01, 1.0), (0.001, 3.0), (2.0, 0.1)])
def test_a_timed_run_ends_with_its_time(monkeypatch, step, validation):
    sizes, planned, seconds = run(monkeypatch, TimedBlocks(100.0 + 240.0, 10**9), lambda _: step, validation)
    assert 240.0 - 2 * (step + validation) <= seconds <= 240.0 + step + validation
    assert planned[-2] == pytest.approx(sum(sizes), rel=0.02)  # so the learning rate ends near zero
    assert len(sizes) * validation <= 0.2 * 240.0


def test_a_run_that_slows_down_is_planned_anew(monkeypatch):
    sizes, planned, seconds = run(monkeypatch, TimedBlocks(340.0, 10**9), lambda s: 0.01 if s < 5000 else 0.03, 0.2)
    assert 230.0 <= seconds <= 260.0
    assert planned[5] > 1.5 * planned[-1]
    assert sum(sizes) == pytest.approx(planned[-2], rel=0.02)


def test_few_rows_end_before_their_time(monkeypatch):
    sizes, _, seconds = run(monkeypatch, TimedBlocks(340.0, 500), lambda _: 0.01, 0.0)
    assert sum(sizes) == 500
    assert seconds < 6.0
    assert len(sizes) > 20


def test_a_resumed_run_has_the_time_that_is_left(monkeypatch):
    sizes, _, seconds = run(monkeypatch, TimedBlocks(340.0, 10**9), lambda _: 0.01, 0.0, Position(30, 12_000, 200.0))
    assert 39.0 <= seconds <= 41.0
    assert sum(sizes) < 4100


def test_time_that_is_over_allows_a_few_steps(monkeypatch):
    sizes, _, _ = run(monkeypatch, TimedBlocks(90.0, 10**9), lambda _: 0.01, 0.0)
    assert sizes == [10]


@pytest.mark.parametrize("build", [lambda: pf.nice(2, n_layers=1, width=4, key=0)], ids=["flow"])
def test_fit_within_a_time(build):
    rows = np.random.default_rng(0).standard_normal((2000, 2))
    _, history = pf.fit(build(), rows, key=0, max_seconds=2.0, start="given", progress=False)
    assert len(history.train) == len(history.validation) == len(history.seconds) >= 1


@pytest.mark.parametrize("bad", [0, -1.0, float("nan"), float("inf")])
def test_bad_times_are_refused(bad):
    with pytest.raises(ValueError, match="max_seconds"):
        pf.fit(pf.nice(2, n_layers=1, width=4, key=0), np.zeros((5, 2)), key=0, max_seconds=bad)
