"""Tables of few rows: `fit` without options, with and without its last fit to all rows, beside a mixture of normals.

    python benchmarks/quality/few_rows.py                  # all tables, two seeds (20 minutes)
    python benchmarks/quality/few_rows.py --only wine

A fifth of the rows are the test (of the simulated tables 5,000 new ones); columns are standardised by the others. The
mixture is scikit-learn's, its size of 1 to 12 chosen by the BIC, fitted to all training rows; `fit` sets a tenth of
them aside for validation. Nothing is chosen on test rows. Runs that are in `benchmarks/results/few_rows.json` are not
made again; `few_rows.md` is written from it.
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets, decomposition
from sklearn.mixture import GaussianMixture

import pushforward as pf
from pushforward.datasets import household_power, toy

RESULTS = Path(__file__).resolve().parent.parent / "results" / "few_rows.json"
COMMAND = "python benchmarks/quality/few_rows.py"
N_TEST = 5_000
SIZES = range(1, 13)
RECIPES = ("nsf", "nsf_ar")
SEEDS = (0, 1)


def components(n: int) -> np.ndarray:
    """The first principal components of scikit-learn's digits."""
    return decomposition.PCA(n, random_state=0).fit_transform(datasets.load_digits().data)


def friedman(n: int, seed: int) -> np.ndarray:
    """Eight uniform columns, and a nonlinear function of five of them with noise."""
    x, y = datasets.make_friedman1(n, 8, noise=0.5, random_state=seed)
    return np.column_stack([x, y])


def household(n: int, seed: int) -> np.ndarray:
    """Minutes of a household's power."""
    rows = household_power().train
    return rows[np.random.default_rng(seed).permutation(len(rows))[:n]]


MEASURED = {
    "wine": lambda: datasets.load_wine().data,
    "breast_cancer": lambda: datasets.load_breast_cancer().data[:, :10],
    "diabetes": lambda: np.delete(datasets.load_diabetes().data, [1, 6, 7], axis=1),
    "digits_16": lambda: components(16),
}
SIMULATED = {
    "friedman_800": (800, friedman),
    "power_1000": (1000, household),
    "rings_2000": (2000, lambda n, seed: toy("rings", n, seed=seed)),
}


def split(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Standardised rows to train on, and to test."""
    if name in MEASURED:
        rows = MEASURED[name]()
        order = np.random.default_rng(seed).permutation(len(rows))
        test, train = rows[order[: len(rows) // 5]], rows[order[len(rows) // 5 :]]
    else:
        n, draw = SIMULATED[name]
        rows = draw(n + N_TEST, seed)
        train, test = rows[:n], rows[n:]
    mean, scale = train.mean(0), train.std(0)
    return (train - mean) / scale, (test - mean) / scale


def mixture(train: np.ndarray, test: np.ndarray) -> tuple[int, float]:
    """Size and test log-likelihood of the mixture of normals."""
    fitted = [GaussianMixture(size, random_state=0, n_init=2).fit(train) for size in SIZES]
    best = min(fitted, key=lambda one: one.bic(train))
    return best.n_components, float(best.score(test))


def one_run(name: str, seed: int) -> dict[str, Any]:
    """Both recipes on one split."""
    train, test = split(name, seed)
    size, nats = mixture(train, test)
    record: dict[str, Any] = {
        "data": name, "seed": seed, "rows": len(train), "columns": train.shape[1],
        "mixture_size": size, "mixture": round(nats, 4),
    }  # fmt: skip
    for recipe in RECIPES:
        for label, refit in (("before", False), ("after", None)):
            flow, history = pf.fit(
                getattr(pf, recipe)(train.shape[1], key=seed), train, key=seed, refit=refit, progress=False
            )
            record[f"{recipe}_{label}"] = round(float(np.mean(np.asarray(flow.log_prob(test), np.float64))), 4)
        record[f"{recipe}_returned"] = f"{history.returned}, from {history.start_from}"
    return record


def page(runs: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    head = ["table", "rows x columns", "seed", "mixture (size)"]
    head += [f"{recipe}, {label}" for recipe in RECIPES for label in ("rows to train on", "all rows", "returned")]
    lines = [
        "# Few rows", "",
        f"Made by `{COMMAND}`. Test log-likelihood in nats a row, standardised. Mixture: scikit-learn's, its size "
        "chosen by the BIC. `fit` without options: after training on nine tenths of the rows, and as it returns, "
        "fitted once more to all of them.", "",
        "| " + " | ".join(head) + " |", "|" + " --- |" * len(head),
    ]  # fmt: skip
    for run in runs:
        cells = [run["data"], f"{run['rows']:,} x {run['columns']}", str(run["seed"])]
        cells.append(f"{run['mixture']:.2f} ({run['mixture_size']})")
        for recipe in RECIPES:
            cells += [f"{run[f'{recipe}_before']:.2f}", f"{run[f'{recipe}_after']:.2f}", run[f"{recipe}_returned"]]
        lines.append("| " + " | ".join(cells) + " |")
    gains = [run[f"{recipe}_after"] - run[f"{recipe}_before"] for run in runs for recipe in RECIPES]
    over = [max(run["nsf_after"], -np.inf) - run["mixture"] for run in runs]
    lines += [
        "", f"The last fit gains {np.mean(gains):.3f} nats in the mean (least {min(gains):.3f}, greatest "
        f"{max(gains):.3f}). `nsf` less the mixture: least {min(over):.2f}, median {np.median(over):.2f}; below it in "
        f"{sum(one < 0 for one in over)} of {len(over)}.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[*MEASURED, *SIMULATED])
    options = parser.parse_args()
    runs = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else []
    warnings.simplefilter("ignore")
    for name in (*MEASURED, *SIMULATED) if options.only is None else (options.only,):
        for seed in SEEDS:
            if any((run["data"], run["seed"]) == (name, seed) for run in runs):
                continue
            runs.append(one_run(name, seed))
            print(json.dumps(runs[-1]), flush=True)
            RESULTS.write_text(json.dumps({"command": COMMAND, "runs": runs}, indent=1) + "\n")
            RESULTS.with_suffix(".md").write_text(page(runs))


if __name__ == "__main__":
    main()
