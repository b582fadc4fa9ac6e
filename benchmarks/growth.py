"""Growth: the time of sampling a masked autoregressive flow over the number of dimensions, and its exponent."""

import contextlib
import math
import statistics

from driver import WorkerError, library, not_installed, say
from turns import VISIT_SECONDS, Timed, note, opened, ratio, take_turns
from workloads import SAMPLE, Workload

DIMS = (8, 16, 32, 64, 128, 256, 512)
# Who takes part, and up to how many dimensions.
LARGEST = {"ours": 512, "flowjax_peer": 512, "zuko_peer": 128}
FITTED_FROM = 64  # below it the time is that of calls and small products, not of the growth
_FEWEST_POINTS = 3


def workload(dim: int) -> Workload:
    """Two layers, two hidden layers of 2 D: one pass takes O(D^2) a sample, so D passes take O(D^3)."""
    return Workload(f"maf-{dim}", "maf", dim=dim, batch=256, width=2 * dim, n_layers=2, operations=(SAMPLE,))


def run(
    workers: list[str],
    failed: dict[str, str],
    rounds: int,
    visit: float = VISIT_SECONDS,
    dims: tuple[int, ...] = DIMS,
) -> dict:
    """Rows of results, one for each number of dimensions; the fitted exponent of each library; what failed."""
    failures = not_installed(failed)
    timed = {dim: _timed(dim, workers, failures, rounds, visit) for dim in dims}
    settings = workload(dims[0]).to_dict()
    names = [name for name in LARGEST if any(name in at for at in timed.values())]
    return {
        "rounds": rounds,
        "operation": SAMPLE,
        "settings": {key: settings[key] for key in ("family", "n_layers", "depth", "batch")},
        "rows": [_row(dim, at) for dim, at in timed.items() if at],
        "fitted_from": FITTED_FROM,
        "exponents": {
            library(name): exponent({dim: at[name] for dim, at in timed.items() if name in at and dim >= FITTED_FROM})
            for name in names
        },
        "failures": failures,
    }


def exponent(times: dict[int, Timed]) -> dict | None:
    """The slope of log time over log D by least squares: of the medians, and of every shared round; None for too few.

    The smallest and largest slope of a round show how far the fit can be trusted.
    """
    if len(times) < _FEWEST_POINTS:
        return None
    shared = set.intersection(*(set(at.seconds) for at in times.values()))
    by_round = [_slope({dim: at.seconds[turn] for dim, at in times.items()}) for turn in sorted(shared)]
    fitted = _slope({dim: at.median() for dim, at in times.items()})
    return {"dims": list(times), "median": fitted, "min": min(fitted, *by_round), "max": max(fitted, *by_round)}


def _slope(times: dict[int, float]) -> float:
    return statistics.linear_regression(
        [math.log(dim) for dim in times], [math.log(seconds) for seconds in times.values()]
    ).slope


def _timed(dim: int, names: list[str], failures: list[dict], rounds: int, visit: float) -> dict[str, Timed]:
    here = workload(dim)
    say(f"growth: {here.name}")

    def failed(name: str, error: WorkerError) -> None:
        note(failures, name, f"{here.name}: {SAMPLE}", error)

    with contextlib.ExitStack() as stack:
        taking_part = [name for name in names if dim <= LARGEST.get(name, 0)]
        workers = opened(taking_part, here, failures, stack)
        return take_turns({name: (worker, SAMPLE) for name, worker in workers.items()}, rounds, visit, failed)


def _row(dim: int, timed: dict[str, Timed]) -> dict:
    entries = {library(name): times.entry() for name, times in timed.items()}
    row: dict = {"dim": dim, "width": workload(dim).width, "libraries": entries}
    peers = {name: times.median() for name, times in timed.items() if name != "ours"}
    if peers and "ours" in timed:
        best = min(peers, key=peers.get)
        row["best_peer"], row["ratio"] = library(best), ratio(timed[best], timed["ours"])
    return row
