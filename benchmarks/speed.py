"""Speed compared with the peers: every workload and operation, with all libraries timed in each round."""

import contextlib
from collections.abc import Callable

from driver import Worker, WorkerError, library, not_installed, say
from turns import VISIT_SECONDS, note, opened, ratio, take_turns
from workloads import INVERSE_FINE, LOG_PROB_IN_JIT, WORKLOADS, OwnRatio, Workload

SOME_HAVE = (LOG_PROB_IN_JIT, INVERSE_FINE)  # operations that some libraries lack, which is no failure


def run(
    workers: list[str],
    failed: dict[str, str],
    rounds: int,
    visit: float = VISIT_SECONDS,
    workloads: tuple[Workload, ...] = WORKLOADS,
    after_each: Callable[[dict], None] = lambda result: None,
) -> dict:
    """Rows of results, one for each workload and operation, and what failed; `after_each` takes them so far."""
    rows: list[dict] = []
    failures = not_installed(failed)
    for workload in workloads:
        say(f"speed: {workload.name}")
        rows += _workload_rows(workload, workers, failures, rounds, visit)
        after_each({"rounds": rounds, "rows": rows, "failures": failures})
    return {"rounds": rounds, "rows": rows, "failures": failures}


def _workload_rows(workload: Workload, names: list[str], failures: list[dict], rounds: int, visit: float) -> list[dict]:
    with contextlib.ExitStack() as stack:
        workers = opened(names, workload, failures, stack)
        rows = [_row(workload, operation, workers, failures, rounds, visit) for operation in workload.operations]
        if "ours" in workers:
            rows += [_own_row(workload, own, workers["ours"], failures, rounds, visit) for own in workload.own]
    return [row for row in rows if row["libraries"]]


def _row(
    workload: Workload, operation: str, workers: dict[str, Worker], failures: list[dict], rounds: int, visit: float
) -> dict:
    """One operation of one workload: times of all libraries, and the ratios to ours."""

    def failed(name: str, error: WorkerError) -> None:
        note(failures, name, f"{workload.name}: {operation}", error)

    asked = {
        name: (worker, operation)
        for name, worker in workers.items()
        if operation not in SOME_HAVE or operation in worker.operations
    }
    timed = take_turns(asked, rounds, visit, failed)
    row: dict = {"workload": workload.name, "settings": workload.to_dict(), "operation": operation, "libraries": {}}
    for name, times in timed.items():
        entry = times.entry()
        if "ours" in timed and name != "ours":
            entry["ratio_to_ours"] = ratio(times, timed["ours"])
        row["libraries"][library(name)] = entry
    peers = {name: times.median() for name, times in timed.items() if name != "ours"}
    if peers:
        best = min(peers, key=peers.get)
        row["best_peer"] = library(best)
        if "ours" in timed:
            row["ratio"] = ratio(timed[best], timed["ours"])
    row["bar"], row["reach"] = workload.bars.get(operation, (None, None))
    return row


def _own_row(workload: Workload, own: OwnRatio, ours: Worker, failures: list[dict], rounds: int, visit: float) -> dict:
    """One operation of this library compared with another."""

    def failed(operation: str, error: WorkerError) -> None:
        note(failures, "ours", f"{workload.name}: {own.name} ({operation})", error)

    row: dict = {"workload": workload.name, "operation": own.name, "libraries": {}}
    timed = take_turns({what: (ours, what) for what in (own.numerator, own.denominator)}, rounds, visit, failed)
    if len(timed) < 2:
        return row
    above, below = timed[own.numerator], timed[own.denominator]
    row["libraries"] = {"pushforward": above.entry()}
    row["denominator"] = {"operation": own.denominator, **below.entry()}
    row["ratio"] = ratio(above, below)
    row["at_most"] = own.at_most
    row["bar"], row["reach"] = own.bar or (None, None)
    return row
