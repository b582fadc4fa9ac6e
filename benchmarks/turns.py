"""Round-robin timing: the workers of a workload, the number of calls of each, and times by round."""

import contextlib
import dataclasses
import statistics
from collections.abc import Callable

from driver import Worker, WorkerError, library, ratio_by_round, rotated, say, spread
from workloads import Workload

VISIT_SECONDS = 0.3  # time of one worker before the next one
_MOST_CALLS = 300
_COLD_SECONDS = 1.0  # a call that takes longer is timed without a warm-up call
_LONG_SECONDS = 2.0  # an operation that takes longer is timed in few rounds only
_LONG_ROUNDS = 3


@dataclasses.dataclass(frozen=True)
class Timed:
    """Seconds of one operation by round, with the settings of the measurement."""

    first: float
    calls: int
    uncounted: int
    turns: tuple[int, ...]
    seconds: dict[int, float] = dataclasses.field(default_factory=dict)

    def spread(self) -> dict[str, float]:
        """Median, smallest and largest over the rounds."""
        return spread(list(self.seconds.values()))

    def median(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.seconds.values())

    def entry(self) -> dict:
        """The entry in the results."""
        return {
            "seconds": self.spread(),
            "first_call_seconds": self.first,
            "calls_a_round": self.calls,
            "rounds": len(self.seconds),
        }


def opened(
    names: list[str], workload: Workload, failures: list[dict], stack: contextlib.ExitStack
) -> dict[str, Worker]:
    """A fresh process for each library that can build the flow of `workload`; it ends with `stack`."""
    workers: dict[str, Worker] = {}
    started = {
        name: stack.enter_context(Worker(name)) for name in names
    }  # they import their libraries at the same time
    for name, worker in started.items():
        try:
            worker.operations = worker.ask("build", workload=workload.to_dict())["operations"]
            workers[name] = worker
        except WorkerError as error:
            note(failures, name, f"{workload.name}: build", error)
    return workers


def take_turns(
    asked: dict[str, tuple[Worker, str]], rounds: int, visit: float, failed: Callable[[str, WorkerError], None]
) -> dict[str, Timed]:
    """Times of the requested {label: (worker, operation)}: each is timed once a round, in rotating order.

    An operation that takes more than two seconds a call is timed in three rounds, spread over all of them.
    """
    timed: dict[str, Timed] = {}
    for label, (worker, operation) in asked.items():
        try:
            timed[label] = _planned(worker, operation, rounds, visit)
        except WorkerError as error:
            failed(label, error)
    for turn in range(rounds):
        for label in rotated(list(timed), turn):
            plan = timed[label]
            if turn not in plan.turns:
                continue
            worker, operation = asked[label]
            try:
                durations = worker.ask("time", operation=operation, repeats=plan.calls, uncounted=plan.uncounted)
            except WorkerError as error:
                del timed[label]
                failed(label, error)
                continue
            plan.seconds[turn] = statistics.median(durations)
    return timed


def ratio(above: Timed, below: Timed) -> dict[str, float]:
    """The spread of above / below over the rounds in which both were timed."""
    shared = sorted(above.seconds.keys() & below.seconds.keys())
    return ratio_by_round([above.seconds[turn] for turn in shared], [below.seconds[turn] for turn in shared])


def note(failures: list[dict], name: str, where: str, error: WorkerError) -> None:
    """Record and print a failure."""
    failures.append({"library": library(name), "where": where, "reason": str(error)})
    say(f"  {library(name)} failed at {where}: {error}")


def _planned(worker: Worker, operation: str, rounds: int, visit: float) -> Timed:
    """Plans the calls of each round by the time of one call."""
    first = worker.ask("first", operation=operation)
    once = worker.ask("time", operation=operation, repeats=1, uncounted=0)[0]
    if once <= visit:
        once = statistics.median(worker.ask("time", operation=operation, repeats=3, uncounted=2))
    if once > visit:
        calls, uncounted = 1, 1 if once <= _COLD_SECONDS else 0
    else:
        calls, uncounted = max(3, min(_MOST_CALLS, round(visit / once))), 2
    turns = set(range(rounds))
    if once > _LONG_SECONDS and rounds > _LONG_ROUNDS:
        turns = {round(part * (rounds - 1) / (_LONG_ROUNDS - 1)) for part in range(_LONG_ROUNDS)}
    return Timed(first, calls, uncounted, tuple(sorted(turns)))
