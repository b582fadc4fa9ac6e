"""Speed beside the peers: every workload, every operation, all libraries taking turns within each round."""

import contextlib
import statistics

from driver import Worker, WorkerError, library, not_installed, ratio_by_round, rotated, say, spread
from workloads import LOG_PROB, LOG_PROB_IN_JIT, PRODUCTS, PRODUCTS_BAR, WORKLOADS, Workload

_VISIT_SECONDS = 0.4  # how long a worker is timed before the next one has its turn


def run(
    workers: list[str],
    failed: dict[str, str],
    rounds: int,
    visit: float = _VISIT_SECONDS,
    workloads: tuple[Workload, ...] = WORKLOADS,
) -> dict:
    """Rows of results, one for each workload and operation, and what failed."""
    rows: list[dict] = []
    failures = not_installed(failed)
    for workload in workloads:
        say(f"speed: {workload.name}")
        rows += _workload_rows(workload, workers, failures, rounds, visit)
    return {"rounds": rounds, "rows": rows, "failures": failures}


def _workload_rows(workload: Workload, names: list[str], failures: list[dict], rounds: int, visit: float) -> list[dict]:
    with contextlib.ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name in names:
            try:
                worker = stack.enter_context(Worker(name))
                worker.operations = worker.ask("build", workload=workload.to_dict())["operations"]
                workers[name] = worker
            except WorkerError as error:
                _note(failures, name, f"{workload.name}: build", error)
        rows = [_row(workload, operation, workers, failures, rounds, visit) for operation in workload.operations]
        if "ours" in workers and LOG_PROB in workload.operations:
            rows.append(_products_row(workload, workers["ours"], failures, rounds, visit))
    return [row for row in rows if row["libraries"]]


def _row(
    workload: Workload, operation: str, workers: dict[str, Worker], failures: list[dict], rounds: int, visit: float
) -> dict:
    """One operation of one workload: times of all libraries, and the ratios to ours."""
    first, repeats = {}, {}
    for name, worker in workers.items():
        if operation == LOG_PROB_IN_JIT and operation not in worker.operations:
            continue  # an operation that only JAX libraries have
        try:
            first[name] = worker.ask("first", operation=operation)
            repeats[name] = _repeats(worker, operation, visit)
        except WorkerError as error:
            first.pop(name, None)
            _note(failures, name, f"{workload.name}: {operation}", error)
    times: dict[str, list[float]] = {name: [] for name in first}
    for turn in range(rounds):
        for name in rotated(list(times), turn):
            taken = workers[name].ask("time", operation=operation, repeats=repeats[name])
            times[name].append(statistics.median(taken))
    row: dict = {"workload": workload.name, "settings": workload.to_dict(), "operation": operation, "libraries": {}}
    row["settings"].pop("bars")
    row["settings"].pop("operations")
    for name, taken in times.items():
        entry = {"seconds": spread(taken), "first_call_seconds": first[name], "calls_a_round": repeats[name]}
        if "ours" in times and name != "ours":
            entry["ratio_to_ours"] = ratio_by_round(taken, times["ours"])
        row["libraries"][library(name)] = entry
    peers = {name: statistics.median(taken) for name, taken in times.items() if name != "ours"}
    if peers:
        best = min(peers, key=peers.get)
        row["best_peer"] = library(best)
        if "ours" in times:
            row["ratio"] = ratio_by_round(times[best], times["ours"])
    row["bar"], row["reach"] = workload.bars.get(operation, (None, None))
    return row


def _products_row(workload: Workload, ours: Worker, failures: list[dict], rounds: int, visit: float) -> dict:
    """log_prob beside its bare matrix products, both of this library."""
    row: dict = {"workload": workload.name, "operation": "log_prob / bare products", "libraries": {}}
    try:
        ours.ask("first", operation=PRODUCTS)
        repeats = {operation: _repeats(ours, operation, visit) for operation in (LOG_PROB, PRODUCTS)}
        times: dict[str, list[float]] = {operation: [] for operation in repeats}
        for turn in range(rounds):
            for operation in rotated(list(repeats), turn):
                taken = ours.ask("time", operation=operation, repeats=repeats[operation])
                times[operation].append(statistics.median(taken))
    except WorkerError as error:
        _note(failures, "ours", f"{workload.name}: bare products", error)
        return row
    row["libraries"] = {"pushforward": {"seconds": spread(times[LOG_PROB])}}
    row["products_seconds"] = spread(times[PRODUCTS])
    row["ratio"] = ratio_by_round(times[LOG_PROB], times[PRODUCTS])
    row["at_most"] = True
    # In the plane the products are too small to be a measure: the ratio is shown without a bar.
    row["bar"], row["reach"] = PRODUCTS_BAR if workload.dim > 2 else (None, None)
    return row


def _repeats(worker: Worker, operation: str, visit: float) -> int:
    """How many calls fill a visit."""
    once = statistics.median(worker.ask("time", operation=operation, repeats=3))
    return max(3, min(300, round(visit / once)))


def _note(failures: list[dict], name: str, where: str, error: WorkerError) -> None:
    failures.append({"library": library(name), "where": where, "reason": str(error)})
    say(f"  {library(name)} failed at {where}: {error}")
