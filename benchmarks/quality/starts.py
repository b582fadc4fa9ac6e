"""Twelve data sets that flows are weak at: `fit` with default settings against a Gaussian, a mixture and kernels.

    python benchmarks/quality/starts.py                    # all
    python benchmarks/quality/starts.py --only two_clusters_1e3     # only this one; other results stay

The flow is `pf.nsf(dim, key=0)` fitted by `pf.fit(flow, x, key=0)`, or `pf.FlowDensity(columns="detect")` where columns
are rounded. The mixture is scikit-learn's with full covariances, of 1 to 20 components chosen by BIC, fitted to
standardised columns with 1e-14 added to every variance (a standard deviation of 1e-7 columns). With a context the
Gaussian is linear in it, and the mixture is that of context and columns together, given the context. Kernels are
`pushforward.tabular.baselines.kernel_density`. Gaussian, mixture and kernels are fitted to all rows, of which the
flow sets a tenth apart to choose its epoch by; a second margin is to a Gaussian and a mixture of nine tenths of the
rows. Where columns are rounded all are compared as masses: the mean density of 64 points of a cell times its volume.
Results go to `benchmarks/results/starts.json` and `.md`.
"""

import argparse
import json
import math
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import pushforward as pf
from pushforward.tabular.baselines import kernel_density

RESULTS = Path(__file__).resolve().parent.parent / "results"
COMMAND = "python benchmarks/quality/starts.py"
SIZES, FLOOR, POINTS, TEST = (1, 2, 3, 4, 5, 7, 10, 14, 20), 1e-14, 64, 4000
Data = tuple[np.ndarray, np.ndarray | None]


def linear_posterior(n: int, random: np.random.Generator) -> Data:
    """theta given x of a linear Gaussian model in six dimensions."""
    theta = random.normal(0, math.sqrt(0.1), (n, 6))
    return theta, theta + random.normal(0, math.sqrt(0.1), theta.shape)


def correlated(n: int, random: np.random.Generator, dim: int = 8) -> Data:
    """A normal distribution whose correlation matrix has eigenvalues from 1 down to 1e-4."""
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(dim, dim)))[0]
    return random.normal(size=(n, dim)) @ (rotation * np.logspace(0, -2, dim)).T, None


def clusters(n: int, random: np.random.Generator, distance: float, dim: int) -> Data:
    """Two clusters of deviation 1 whose centres differ by `distance` in the first column."""
    x = random.normal(size=(n, dim))
    x[:, 0] += distance * random.integers(0, 2, n)
    return x, None


def rounded(n: int, random: np.random.Generator) -> Data:
    """Two correlated normal columns written in steps of 0.5 and 1, and a count."""
    a = random.normal(size=(n, 2)) @ np.array([[1.5, 1.2], [0.0, 1.0]])
    return np.stack([np.round(a[:, 0] / 0.5) * 0.5, np.round(a[:, 1]), random.poisson(4.0, n)], 1), None


def near_duplicates(n: int, random: np.random.Generator) -> Data:
    """Celsius, and Fahrenheit but for 1e-4."""
    celsius = random.normal(size=n)
    return np.stack([celsius, 1.8 * celsius + 32 + 1e-4 * random.normal(size=n)], 1), None


def ridge(n: int, random: np.random.Generator) -> Data:
    """A bent ridge of width 0.003."""
    u = random.normal(size=n)
    return np.stack([u, 0.5 * u**2 + 0.003 * random.normal(size=n)], 1), None


def heavy_tails(n: int, random: np.random.Generator) -> Data:
    """Two independent Student-t columns with two degrees of freedom."""
    return random.standard_t(2, size=(n, 2)), None


def groups(n: int, random: np.random.Generator) -> Data:
    """Three clusters in four columns, each with another covariance."""
    fixed = np.random.default_rng(2)
    centres, factors = fixed.normal(0, 3, (3, 4)), fixed.normal(0, 0.6, (3, 4, 4))
    member = random.integers(0, 3, n)
    return centres[member] + np.einsum("nij,nj->ni", factors[member], random.normal(size=(n, 4))), None


def narrow_posterior(n: int, random: np.random.Generator) -> Data:
    """theta, uniform on a square, given its sum and difference with noise of 0.06."""
    theta = random.uniform(-3, 3, (n, 2))
    return theta, theta @ np.array([[1.0, 1.0], [1.0, -1.0]]) + 0.06 * random.normal(size=theta.shape)


def power(n: int, random: np.random.Generator) -> Data:
    """Household power, six columns."""
    data = pf.datasets.household_power()
    x = np.concatenate([data.train, data.validation, data.test])
    return x[random.permutation(len(x))[:n]], None


SETS: dict[str, tuple[Callable[[int, np.random.Generator], Data], int]] = {
    "linear_posterior": (linear_posterior, 4000),
    "correlated": (correlated, 2000),
    "two_clusters_1e3": (lambda n, random: clusters(n, random, 1e3, 1), 4000),
    "two_clusters_1e6": (lambda n, random: clusters(n, random, 1e6, 2), 4000),
    "two_clusters_1e6_float64": (lambda n, random: clusters(n, random, 1e6, 2), 4000),
    "rounded": (rounded, 2000),
    "near_duplicates": (near_duplicates, 2000),
    "ridge": (ridge, 4000),
    "heavy_tails": (heavy_tails, 4000),
    "correlated_200_rows": (lambda n, random: correlated(n, random, 5), 200),
    "groups_200_rows": (groups, 200),
    "narrow_posterior": (narrow_posterior, 10_000),
    "power": (power, 10_000),
}


def gaussian_mixture(x: np.ndarray, context: np.ndarray | None, sizes: tuple[int, ...]) -> tuple[Callable, int]:
    """Scores of rows, and the number of components that the BIC chose."""
    joint = x if context is None else np.hstack([context, x])
    n_given = joint.shape[1] - x.shape[1]
    centre, spread = joint.mean(0), joint.std(0)
    scaled = (joint - centre) / spread
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = [
            GaussianMixture(size, reg_covar=FLOOR, random_state=0, n_init=2).fit(scaled)
            for size in sizes
            if size * 10 <= len(x) or size == 1
        ]
    best = min(fitted, key=lambda mixture: mixture.bic(scaled))
    marginal = GaussianMixture(best.n_components)
    if n_given:
        marginal.weights_, marginal.means_ = best.weights_, best.means_[:, :n_given]
        marginal.covariances_ = best.covariances_[:, :n_given, :n_given]
        marginal.precisions_cholesky_ = np.stack(
            [np.linalg.inv(np.linalg.cholesky(c)).T for c in marginal.covariances_]
        )

    def scores(x: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        joint = (np.hstack([context, x]) if n_given else x) - centre
        joint = joint / spread
        less = marginal.score_samples(joint[:, :n_given]) if n_given else 0.0
        return best.score_samples(joint) - less - np.log(spread[n_given:]).sum()

    return scores, best.n_components


def cells(x: np.ndarray, random: np.random.Generator, steps: np.ndarray, copies: int) -> np.ndarray:
    """`copies` points of each row's cell, uniformly, copy after copy."""
    return np.concatenate([x + (random.uniform(size=x.shape) - 0.5) * steps for _ in range(copies)])


def run(name: str) -> dict:
    make, n = SETS[name]
    x, context = make(n, np.random.default_rng(10))
    new, new_context = make(TEST, np.random.default_rng(11))
    if name == "power":  # rows without replacement: the test rows are others
        both, _ = make(n + TEST, np.random.default_rng(10))
        x, new = both[:n], both[n:]
    start, messages = time.perf_counter(), []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if name == "rounded":
            density = pf.FlowDensity(columns="detect", random_state=0).fit(x)
            flow_scores = density.score_samples(new)
            history = density.history_
        else:
            options = {} if context is None else {"context_dim": context.shape[1]}
            with jax.enable_x64(name.endswith("float64")):
                flow, history = pf.fit(pf.nsf(x.shape[1], key=0, **options), x, context=context, key=0, progress=False)
                flow_scores = np.asarray(flow.log_prob(new, context=new_context), np.float64)
        messages = [str(warning.message) for warning in caught]
    seconds = time.perf_counter() - start
    random, cell = np.random.default_rng(12), None
    train, test = x, new
    if name == "rounded":
        cell = np.array([0.5, 1.0, 1.0])
        train, test = cells(x, random, cell, 8), cells(new, random, cell, POINTS)

    def as_masses(scores: np.ndarray) -> np.ndarray:
        if cell is None:
            return scores
        return np.logaddexp.reduce(scores.reshape(POINTS, -1), axis=0) - math.log(POINTS) + np.log(cell).sum()

    gaussian, _ = gaussian_mixture(train, context, (1,))
    mixture, size = gaussian_mixture(train, context, SIZES)
    rivals = {"Gaussian": as_masses(gaussian(test, new_context)), "mixture": as_masses(mixture(test, new_context))}
    best = max(rivals.values(), key=np.mean)
    tenths = slice(0, len(train) * 9 // 10) if cell is None else slice(None)
    tenths_context = None if context is None else context[tenths]
    fewer = [gaussian_mixture(train[tenths], tenths_context, sizes)[0](test, new_context) for sizes in ((1,), SIZES)]
    margin_of_fewer = flow_scores - max(map(as_masses, fewer), key=np.mean)
    contexts = None if context is None else (context[: n * 9 // 10], context[n * 9 // 10 :], new_context)
    ninth = len(train) * 9 // 10
    kernels = math.nan
    if cell is None:
        kernels = kernel_density(train[:ninth], train[ninth:], test, contexts=contexts).test_log_likelihood
    margin = flow_scores - best
    return {
        "rows": n,
        "columns": x.shape[1],
        "flow": float(flow_scores.mean()),
        "error": float(margin.std() / math.sqrt(len(margin))),
        "margin": float(margin.mean()),
        "margin_to_nine_tenths": float(margin_of_fewer.mean()),
        "Gaussian": float(rivals["Gaussian"].mean()),
        "mixture": float(rivals["mixture"].mean()),
        "components": size,
        "kernels": kernels,
        "start": history.start_from,
        "seconds": seconds,
        "warnings": messages,
        "load": os.getloadavg()[0],
    }


def page(results: dict[str, dict]) -> str:
    lines = [
        "# Where training starts",
        "",
        f"Made by `{COMMAND}`, whose docstring describes the fits. Mean test log-likelihood in nats of {TEST:,} new",
        "rows; margin: the flow less the better of Gaussian and mixture of all rows, +- its standard error over test",
        "rows; in brackets that to those of nine tenths of the rows, as many as the flow was trained on.",
        "Bar: no margin below minus its error.",
        "",
        "| data | rows | columns | start | flow | Gaussian | mixture (components) | kernels | margin | warnings |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in SETS:
        if (r := results.get(name)) is None:
            continue
        kernels = "-" if math.isnan(r["kernels"]) else f"{r['kernels']:.3f}"
        lines.append(
            f"| {name} | {r['rows']:,} | {r['columns']} | {r['start']} | {r['flow']:.3f} | {r['Gaussian']:.3f} | "
            f"{r['mixture']:.3f} ({r['components']}) | {kernels} | {r['margin']:+.3f} +- {r['error']:.3f} "
            f"({r['margin_to_nine_tenths']:+.3f}) | "
            f"{len(r['warnings'])} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=SETS)
    names = parser.parse_args().only or list(SETS)
    path = RESULTS / "starts.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in names:
        results[name] = run(name)
        print(name, {key: value for key, value in results[name].items() if key != "load"}, flush=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
        (RESULTS / "starts.md").write_text(page(results))


if __name__ == "__main__":
    main()
