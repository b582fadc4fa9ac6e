"""Splits of data whose values repeat: share of validation rows, validation and test likelihood, spread of samples.

    python benchmarks/quality/splits.py

Each data set is fitted as a density (`fit`, on the values as they are) and, where its columns are rounded, as masses
(`fit_columns`). Rows that go to validation together with their copies would leave the tails to training: the share of
validation rows would be far above the tenth that is asked for, and samples too wide. Results go to
`benchmarks/results/splits.md` and `.json`.
"""

import json
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import pushforward as pf
from pushforward.core.float64 import log_prob_float64, sample_float64
from pushforward.datasets import household_power
from pushforward.tabular.schema import fit_columns, infer_schema

RESULTS = Path(__file__).resolve().parent.parent / "results"
COMMAND = "python benchmarks/quality/splits.py"
N, N_TEST, N_POWER = 4000, 20_000, 10_000
SHARES = (0.4, 0.3, 0.15, 0.1, 0.05)  # of five categories
SMALL = {"n_layers": 2, "width": 16, "n_bins": 32}  # fewer bins than values would smooth the cells of a coarse grid
ONE_COLUMN = {"max_epochs": 150, "progress": False}
POWER = {"max_epochs": 20, "progress": False}
TICKS = np.array([0.001, 0.01, 1.0, 1.0, 1.0, 1.0])  # of the meter, and the minutes of the day

Draw = Callable[[np.random.Generator, int], np.ndarray]


def rounded(decimals: int) -> Draw:
    return lambda random, n: np.round(random.normal(size=(n, 1)), decimals)


DATA: dict[str, tuple[Draw, str]] = {
    **{f"normal, {d} decimals": (rounded(d), f"rounded:{10.0**-d:g}") for d in range(4)},
    "Poisson counts, mean 4": (lambda random, n: random.poisson(4.0, (n, 1)).astype(float), "count"),
    "categories, 5 integers": (lambda random, n: random.choice(5, (n, 1), p=SHARES).astype(float), "category"),
}


def spread_error(x: np.ndarray, n: int) -> np.ndarray:
    """Standard error of the standard deviation of each column, for n rows distributed as x."""
    centred = x - x.mean(0)
    variance = (centred**2).mean(0)
    return np.sqrt(((centred**4).mean(0) - variance**2) / (4 * variance * n))


def judged(
    name: str, kind: str, fit: Callable[[], tuple[Any, Any]], train: np.ndarray, test: np.ndarray, noise: Any = 0.0
) -> dict:
    """One fit: the held-out rows, their log-likelihood and that of the test rows, and the column with the worst spread.

    `noise` is the step over which `fit` fills repeated values: the rows of the comparison are filled likewise.
    """
    random = np.random.default_rng(2)
    data, test = (rows + noise * (random.random(rows.shape) - 0.5) for rows in (train, test))
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        flow, history = fit()
    seconds = time.perf_counter() - started
    scores = log_prob_float64(flow, test)
    error = scores.std() * math.sqrt(1 / history.n_validation + 1 / len(test))
    samples = sample_float64(flow, N_TEST, 1)
    n_error = 1 / (1 / history.n_train + 1 / len(samples))  # rows whose noise is that of training rows and samples
    deviations = (samples.std(0) - data.std(0)) / spread_error(data, n_error)
    worst = int(np.abs(deviations).argmax())
    return {
        "data": name, "fitted as": kind, "rows": len(train),
        "share": history.n_validation / (history.n_train + history.n_validation),
        "copies": history.n_validation_copies / history.n_validation,
        "validation": history.best_validation, "test": float(scores.mean()), "error": float(error),
        "without_copies": history.validation_without_copies,
        "spread": float(samples[:, worst].std() / data[:, worst].std()),
        "spread_error": float(spread_error(data, n_error)[worst] / data[:, worst].std()),
        "warned": any("values repeat" in str(warning.message) for warning in caught), "seconds": round(seconds, 1),
    }  # fmt: skip


def one_column(name: str) -> list[dict]:
    draw, declared = DATA[name]
    train, test = (draw(np.random.default_rng(seed), n) for seed, n in ((0, N), (1, N_TEST)))
    schema = infer_schema(train, ["x"], declarations={"x": declared}, others=test)
    results = []
    for kind in ("density", "masses"):

        def fit(kind: str = kind) -> tuple[Any, Any]:
            if kind == "density":
                return pf.fit(pf.nsf(dim=1, key=0, **SMALL), train, key=0, **ONE_COLUMN)
            return fit_columns(schema, lambda dim: pf.nsf(dim, key=0, **SMALL), train, key=0, **ONE_COLUMN)

        step = {"count": 1.0, "category": 1.0}.get(declared) or float(declared.partition(":")[2])
        noise = step if kind == "density" and name != "normal, 3 decimals" else 0.0
        results.append(judged(name, kind, fit, train, test, noise))
    return results


def power() -> list[dict]:
    data = household_power()
    results = []
    for name, step in (("household power", None), ("household power, noise taken off", TICKS)):
        train, test = (
            rows if step is None else np.floor(rows / step + 1e-6) * step for rows in (data.train[:N_POWER], data.test)
        )

        def fit(train: np.ndarray = train) -> tuple[Any, Any]:
            return pf.fit(pf.nsf(dim=6, key=0, n_layers=4, width=32), train, key=0, **POWER)

        results.append(judged(name, "density", fit, train, test, 0.0 if step is None else step))
    return results


def page(lines: list[dict]) -> str:
    text = [
        "# Splits of data whose values repeat",
        "",
        f"Made by `{COMMAND}`: {N:,} rows ({N_POWER:,} of household power), a tenth asked for validation, {N_TEST:,} "
        "fresh test rows (5,000 of household power). Copies: share of validation rows that have an equal training row. "
        "Validation and test: nats per row; the difference with its standard error, from the rows of both. Spread: "
        "standard deviation of samples over that of the data, with the error that the numbers of training rows and "
        "samples leave; of several columns the one that is off most, in errors: of six the most is beyond two errors "
        "in one healthy fit of four. Warned: `fit` named columns whose values repeat, and filled the steps of their "
        "lattice with noise; the rows it is compared with are filled too.",
        "",
        "| data | fitted as | validation rows | copies | validation | without copies | test | difference | spread "
        "| warned |",
        "|" + " --- |" * 10,
    ]
    for line in lines:
        without = "-" if math.isnan(line["without_copies"]) else f"{line['without_copies']:.3f}"
        text.append(
            f"| {line['data']} | {line['fitted as']} | {line['share']:.1%} | {line['copies']:.0%} | "
            f"{line['validation']:.3f} | {without} | {line['test']:.3f} | "
            f"{line['validation'] - line['test']:+.3f} +- {line['error']:.3f} | "
            f"{line['spread']:.3f} +- {line['spread_error']:.3f} | {'yes' if line['warned'] else 'no'} |"
        )
    return "\n".join(text) + "\n"


def main() -> None:
    lines: list[dict] = []
    for make in (*(lambda name=name: one_column(name) for name in DATA), power):
        lines += make()
        print(json.dumps(lines[-1]), flush=True)
    strict = [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in line.items()}
        for line in lines
    ]
    (RESULTS / "splits.json").write_text(json.dumps({"command": COMMAND, "lines": strict}, indent=1) + "\n")
    (RESULTS / "splits.md").write_text(page(lines))


if __name__ == "__main__":
    main()
