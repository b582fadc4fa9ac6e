"""Residual flows compared with the peers that have them: speed at equal settings, inverse of one trained flow.

`speed.run` times untrained flows of equal sizes, bounds and series. Their blocks hardly bend (weights at the bound
behind activations of slope 1/2), so any search is short. `trained` therefore fits a flow of ours, hands its numbers to
normflows (the same blocks, activations and maps), and both invert it.
"""

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import speed
from driver import Worker, WorkerError, library, say
from turns import VISIT_SECONDS, note, ratio, take_turns
from workloads import RESIDUAL, TRAINED_RESIDUAL, Workload

_WORKERS = ("ours", "normflows_peer", "torchflows_peer")


def run(workers: list[str], failed: dict[str, str], rounds: int, visit: float = VISIT_SECONDS) -> dict:
    """Rows of speed, errors of the inverses, and rows of the trained flows."""
    workers = [name for name in workers if name in _WORKERS]
    result = speed.run(workers, failed, rounds, visit, RESIDUAL)
    errors = {}
    for name in workers:
        with Worker(name) as worker:
            errors[library(name)] = worker.ask("inverse_error", workload=RESIDUAL[0].to_dict())
    return result | {"inverse_errors": errors, "trained": _trained(workers, result["failures"], rounds, visit)}


def _trained(workers: list[str], failures: list[dict], rounds: int, visit: float) -> list[dict]:
    rows = []
    for workload, data, epochs in TRAINED_RESIDUAL:
        say(f"trained: {workload.name}")
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            settings = workload.to_dict() | {"weights": str(Path(folder) / "flow.npz")}
            np.savez(Path(folder) / "rows.npz", train=_rows(data))
            open_workers = {n: stack.enter_context(Worker(n)) for n in workers if n != "torchflows_peer"}
            try:
                fitted = open_workers["ours"].ask(
                    "train", workload=workload.to_dict(), weights=settings["weights"],
                    data=str(Path(folder) / "rows.npz"), max_epochs=epochs,
                )  # fmt: skip
                rows.append(_row(workload, settings, fitted, open_workers, failures, rounds, visit))
            except WorkerError as error:
                note(failures, "ours", f"{workload.name}: trained", error)
    return rows


def _row(
    workload: Workload, settings: dict, fitted: dict, workers: dict[str, Worker], failures: list[dict], rounds: int,
    visit: float,
) -> dict:  # fmt: skip
    asked, errors = {}, {}
    for name, worker in workers.items():
        operations = worker.ask("build", workload=settings)["operations"]
        errors[library(name)] = worker.ask("inverse_error", workload=settings)
        for operation in ("inverse", "inverse_fine"):
            if operation in operations:
                asked[f"{library(name)}: {operation}"] = worker, operation

    def failed(label: str, error: WorkerError) -> None:
        note(failures, label.split(":")[0], f"{workload.name}: trained", error)

    timed = take_turns(asked, rounds, visit, failed)
    ours = timed["pushforward: inverse"]
    return {
        "workload": workload.name,
        "settings": workload.to_dict(),
        "fitted": fitted,
        "errors": errors,
        "times": {label: times.entry() for label, times in timed.items()},
        "ratios": {label: ratio(times, ours) for label, times in timed.items() if times is not ours},
    }


def _rows(data: str) -> np.ndarray:
    """20,000 rows; "mixed" are 21 rings and bananas of the plane and a normal, turned at random in 43 dimensions."""
    random = np.random.default_rng(0)

    def ring(n: int) -> np.ndarray:
        radius = random.choice([1.0, 2.0, 3.0], n) + 0.1 * random.standard_normal(n)
        angle = random.uniform(0, 2 * np.pi, n)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)

    def banana(n: int) -> np.ndarray:
        along = random.standard_normal(n)
        return np.stack([along, along**2 + 0.2 * random.standard_normal(n)], 1)

    if data == "rings":
        return ring(20_000)
    parts = [ring(20_000) if i % 2 else banana(20_000) for i in range(21)]
    turn = np.linalg.qr(random.standard_normal((43, 43)))[0]
    return np.hstack([*parts, random.standard_normal((20_000, 1))]) @ turn
