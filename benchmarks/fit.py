"""Whole fits of plane shapes and tables: wall time from the first fit call of a fresh process to a held-out likelihood.

Every run is a separate process, so compilation counts. The clock starts at the call that trains (imports do not
count, construction is reported separately) and runs on, for everyone, while the same held-out rows are scored after
each epoch.

Every library trains its own default flow its own way (the workers' docstrings say how), on the same standardised rows.

The target of a data set: the best median over seeds that a peer reaches at its default learning rate, less 0.02 nat.
A run that never gets there has no time; a median over seeds is given when more than half of the runs got there.

Tables: minutes of a household's power, the first ten principal components of scikit-learn's digits, and the ten means
of its breast cancer data.
"""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from driver import Worker, WorkerError, library, not_installed, say

SLACK = 0.02
N_TRAIN, N_HELD_OUT = 10_000, 2_000
# Peer -> learning rates; None is the library's default. FlowJAX: 5e-4, zuko's documentation: 1e-3.
LEARNING_RATES: dict[str, tuple[float | None, ...]] = {
    "ours": (None,),
    "flowjax_peer": (None, 2e-3, 5e-3),
    "zuko_peer": (None, 2e-3, 5e-3),
}


def moons(random: np.random.Generator, n: int) -> np.ndarray:
    """Two interleaved half circles of radius 1, noise 0.1."""
    angle, lower = np.pi * random.random(n), random.random(n) < 0.5
    upper_arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    curve = np.where(lower[:, None], np.array([1.0, 0.5]) - upper_arc, upper_arc)
    return curve + 0.1 * random.standard_normal((n, 2))


def rings(random: np.random.Generator, n: int) -> np.ndarray:
    """Three circles of radius 1, 2, 3, each as likely, noise 0.08 on the radius."""
    radius = random.integers(1, 4, size=n) + 0.08 * random.standard_normal(n)
    angle = 2 * np.pi * random.random(n)
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def power() -> np.ndarray:
    """Minutes of a household's power: the rows of the other data sets."""
    from pushforward.datasets import household_power

    return household_power().train


def digits() -> np.ndarray:
    """The first ten principal components of 1,797 images of digits."""
    from sklearn import datasets, decomposition

    return decomposition.PCA(10, random_state=0).fit_transform(datasets.load_digits().data)


def breast_cancer() -> np.ndarray:
    """Ten means over the cells of 569 images."""
    from sklearn import datasets

    return datasets.load_breast_cancer().data[:, :10]


def drawn(shape: Callable[[np.random.Generator, int], np.ndarray]) -> Callable[[], np.ndarray]:
    """The data of a shape in the plane."""
    return lambda: shape(np.random.default_rng(0), N_TRAIN + N_HELD_OUT)


DATA: dict[str, Callable[[], np.ndarray]] = {
    "moons": drawn(moons),
    "rings": drawn(rings),
    "power": power,
    "digits": digits,
    "breast_cancer": breast_cancer,
}


def run(workers: list[str], failed: dict[str, str], seeds: int, budget: float, default_only: bool = False) -> dict:
    """All curves, the targets, and the times to them."""
    failures = not_installed(failed)
    runs: list[dict] = []
    n_rows: dict[str, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, load in DATA.items():
            path = Path(folder) / f"{name}.npz"
            n_rows[name] = _write(path, load())
            for seed in range(seeds):
                runs += _one_seed(name, path, seed, workers, budget, default_only, failures)
    rows = [_summary(name, [run for run in runs if run["data"] == name]) for name in DATA]
    rules = {"n_rows": n_rows, "seeds": seeds, "budget_seconds": budget, "slack": SLACK}
    return {"rules": rules, "rows": [row for row in rows if row], "runs": runs, "failures": failures}


def _write(path: Path, rows: np.ndarray) -> tuple[int, int]:
    """Shuffled rows, standardised by those to train on, float32; the number to train on, and the number held out."""
    n_held_out = min(N_HELD_OUT, len(rows) // 5)
    n_train = min(N_TRAIN, len(rows) - n_held_out)
    rows = np.random.default_rng(0).permutation(rows)[: n_train + n_held_out]
    train = rows[:n_train]
    scaled = ((rows - train.mean(axis=0)) / train.std(axis=0)).astype(np.float32)
    np.savez(path, train=scaled[:n_train], held_out=scaled[n_train:])
    return n_train, n_held_out


def _one_seed(
    data: str, path: Path, seed: int, workers: list[str], budget: float, default_only: bool, failures: list[dict]
) -> list[dict]:
    """One run of every library and learning rate, one after the other."""
    runs = []
    for worker in (name for name in LEARNING_RATES if name in workers):
        for rate in LEARNING_RATES[worker][:1] if default_only else LEARNING_RATES[worker]:
            label = "default" if rate is None else f"{rate:g}"
            say(f"fit: {data}, seed {seed}, {library(worker)}, learning rate {label}")
            try:
                with Worker(worker) as process:
                    run_history = process.ask("fit", data=str(path), seed=seed, learning_rate=rate, budget=budget)
            except WorkerError as error:
                reason = str(error)
                failures.append({"library": library(worker), "where": f"fit, {data}, seed {seed}", "reason": reason})
                say(f"  {library(worker)} failed: {reason}")
                continue
            head = {"data": data, "seed": seed, "library": library(worker), "learning_rate": label}
            runs.append(head | _rounded(run_history))
    return runs


def _rounded(run_history: dict) -> dict:
    """The history with four digits. A likelihood that is not finite becomes None."""
    digits = {
        name: [round(value, 4) if np.isfinite(value) else None for value in values]
        for name, values in run_history.items()
        if isinstance(values, list)
    }
    return {name: digits.get(name, value) for name, value in run_history.items()}


def time_to(run_history: dict, target: float) -> float | None:
    """Seconds until the held-out likelihood first reaches the target."""
    pairs = zip(run_history["seconds"], run_history["validation"], strict=True)
    return next((seconds for seconds, nats in pairs if nats is not None and nats >= target), None)


def _best(run_history: dict) -> float:
    return max((nats for nats in run_history["validation"] if nats is not None), default=-np.inf)


def _summary(data: str, runs: list[dict]) -> dict:
    """Target, entries by library and learning rate, and the ratios to ours by seed."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for one in runs:
        groups.setdefault((one["library"], one["learning_rate"]), []).append(one)
    defaults = {
        name: statistics.median(_best(one) for one in group)
        for (name, rate), group in groups.items()
        if rate == "default" and name != "pushforward"
    }
    if not defaults:
        return {}
    target = max(defaults.values()) - SLACK
    ours = {one["seed"]: time_to(one, target) for one in groups.get(("pushforward", "default"), [])}
    entries = []
    for (name, rate), group in groups.items():
        times = {one["seed"]: time_to(one, target) for one in group}
        ratios = [times[seed] / ours[seed] for seed in times if ours.get(seed) is not None and times[seed] is not None]
        entries.append(
            {
                "library": name,
                "learning_rate": rate,
                "best_held_out": round(statistics.median(_best(one) for one in group), 4),
                "seconds_to_target": [times[seed] for seed in sorted(times)],
                "median_seconds": _median(list(times.values())),
                "ratios_to_ours": [] if name == "pushforward" else [round(ratio, 3) for ratio in ratios],
            }
        )
    mine = next((entry["median_seconds"] for entry in entries if entry["library"] == "pushforward"), None)
    peers = [entry for entry in entries if entry["library"] != "pushforward"]
    row: dict = {"data": data, "target": round(target, 4), "entries": entries}
    for kind, some in (("default", [p for p in peers if p["learning_rate"] == "default"]), ("best_of_three", peers)):
        row[kind] = _against(some, mine)
    return row


def _against(peers: list[dict], mine: float | None) -> dict | None:
    """The fastest of these peers to the target, and its median time over ours."""
    there = [entry for entry in peers if entry["median_seconds"] is not None]
    if not there:
        return None
    fastest = min(there, key=lambda entry: entry["median_seconds"])
    picked = {key: fastest[key] for key in ("library", "learning_rate", "median_seconds", "ratios_to_ours")}
    return picked | {"ratio": None if mine is None else round(fastest["median_seconds"] / mine, 3)}


def _median(times: list[float | None]) -> float | None:
    """Median with runs that never arrived counted as later than any; None if that is the median."""
    middle = statistics.median(np.inf if duration is None else duration for duration in times)
    return round(float(middle), 4) if np.isfinite(middle) else None
