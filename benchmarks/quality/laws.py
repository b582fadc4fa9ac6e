"""Every transformer on the same data: log-likelihood and cost.

    python benchmarks/quality/laws.py --part table     # household power: five layers, coupling and autoregressive
    python benchmarks/quality/laws.py --part shapes    # one-dimensional targets, one map each, one picture

table: the first rows of `pushforward.datasets.household_power()`, five layers, a fixed number of epochs at the defaults
of `fit`; the width of the networks is chosen so that all flows have the same number of weights, within ten percent.
Times are medians on a batch of 512 in float32, one transformer after the other; compile time is the first call less a
later one, of `log_prob` and `sample` together.
shapes: three targets of known density, each transformer alone, all with about the same number of leaves; the number in
a panel is the mean held-out log-density of the truth less that of the fit. Results go to `benchmarks/results/laws_*`.
"""

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import pushforward as pf
from pushforward.bijections import (
    TRANSFORMERS,
    AbstractBijection,
    Affine,
    Bernstein,
    Chain,
    CubicSpline,
    HeavyTails,
    LinearRationalSpline,
    LinearSpline,
    MixtureLogistic,
    MixtureNormal,
    MonotoneIntegral,
    NonlinearSquared,
    NormalToLogistic,
    QuadraticSpline,
    RationalQuadraticSpline,
    Sigmoidal,
    SinhArcsinh,
    SumOfSquares,
)
from pushforward.core.fields import count_parameters

RESULTS = Path(__file__).resolve().parent.parent / "results"
N_TRAIN, EPOCHS, BATCH = 10_000, 20, 512
FLOWS = {"coupling": pf.coupling_flow, "autoregressive": pf.autoregressive_flow}
LIKE = "rational_quadratic"  # at the default width of 64 it says how many weights all others get
# Two that are too simple to be compared, and three for one layer only: tails that grow or fall faster than
# their argument would do so again in the next.
SKIPPED = ("additive", "leaky_relu", "heavy_tails", "mixture_normal", "sinh_arcsinh")


def table(names: list[str]) -> dict[str, Any]:
    data = pf.datasets.household_power()
    path = RESULTS / "laws_table.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [row for row in rows if row["transformer"] not in (*names, *SKIPPED)]
    for name in names:
        for kind, recipe in FLOWS.items():
            rows.append({"transformer": name, "flow": kind, **_measured(recipe, name, data)})
            print(rows[-1], flush=True)
        path.write_text(json.dumps({"rows": rows}))  # so that an interrupted run can go on with --laws
    rows.sort(key=lambda row: (row["flow"], -row["test_log_likelihood"]))
    return {"n_train": N_TRAIN, "epochs": EPOCHS, "batch": BATCH, "cores": len(os.sched_getaffinity(0)), "rows": rows}


def _built(recipe: Callable, name: str, dim: int, width: int) -> pf.Flow:
    return recipe(dim=dim, key=0, transformer=name, n_layers=5, width=width, depth=2)


def _of_size(recipe: Callable, name: str, dim: int) -> tuple[pf.Flow, int]:
    """The flow whose number of weights is nearest to that of the reference transformer."""
    target_size = count_parameters(_built(recipe, LIKE, dim, 64))
    sizes = {width: count_parameters(_built(recipe, name, dim, width)) for width in range(8, 161, 4)}
    width = min(sizes, key=lambda width: abs(sizes[width] - target_size))
    return _built(recipe, name, dim, width), width


def _measured(recipe: Callable, name: str, data: Any) -> dict[str, Any]:
    start, width = _of_size(recipe, name, data.train.shape[1])
    began = time.perf_counter()
    flow, history = pf.fit(
        start, data.train[:N_TRAIN], key=0, validation=data.validation, max_epochs=EPOCHS, progress=False
    )
    fitted = time.perf_counter() - began
    scores = np.asarray(flow.log_prob(data.test), np.float64)
    x = data.test[:BATCH]
    calls = {
        "log_prob": lambda: flow.log_prob(x).block_until_ready(),
        "sample": lambda: flow.sample(BATCH, key=0).block_until_ready(),
        "training_step": _training_step(flow, jnp.asarray(x)),
    }
    firsts, laters = {}, {}
    jax.clear_caches()
    for what, call in calls.items():
        began = time.perf_counter()
        call()
        firsts[what] = time.perf_counter() - began
        laters[what] = _median_seconds(call)
    compiling = sum(firsts[what] - laters[what] for what in ("log_prob", "sample"))
    return {
        "test_log_likelihood": round(float(scores.mean()), 3),
        "standard_error": round(float(scores.std() / math.sqrt(len(scores))), 3),
        **{f"{what}_ms": round(1e3 * seconds, 2) for what, seconds in laters.items()},
        "compile_seconds": round(compiling, 2),
        "fit_seconds": round(fitted, 1),
        "weights": count_parameters(start),
        "width": width,
        "stop": history.stop_reason,
    }


def _training_step(flow: pf.Flow, x: jax.Array) -> Callable[[], Any]:
    trained, static = eqx.partition(flow, pf.trainable(flow))
    optimizer = optax.adam(1e-4)
    state = optimizer.init(trained)

    @jax.jit
    def step(trained: Any, state: Any) -> Any:
        loss, gradient = jax.value_and_grad(lambda leaves: -eqx.combine(leaves, static).log_prob(x).mean())(trained)
        change, state = optimizer.update(gradient, state)
        return loss, optax.apply_updates(trained, change), state

    return lambda: jax.block_until_ready(step(trained, state))


def _median_seconds(call: Callable[[], Any], rounds: int = 9) -> float:
    durations = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        durations.append(time.perf_counter() - began)
    return statistics.median(durations)


# One-dimensional targets: how to draw, and the exact log-density.
def _mixture(weights: Any, means: Any, deviations: Any) -> tuple[Callable, Callable]:
    weights, means, deviations = (np.asarray(v, float) for v in (weights, means, deviations))

    def draw(random: np.random.Generator, n: int) -> np.ndarray:
        which = random.choice(len(weights), n, p=weights)
        return means[which] + deviations[which] * random.standard_normal(n)

    def log_density(x: np.ndarray) -> np.ndarray:
        u = (x[:, None] - means) / deviations
        return np.log(np.sum(weights * np.exp(-0.5 * u**2) / (deviations * math.sqrt(2 * math.pi)), 1))

    return draw, log_density


def _gap(x: np.ndarray) -> np.ndarray:
    """0.6 on [-2, -1], 0.4 on [0.5, 1.5], nothing between."""
    with np.errstate(divide="ignore"):
        return np.log(np.where((x > -2) & (x < -1), 0.6, np.where((x > 0.5) & (x < 1.5), 0.4, 0.0)))


TARGETS: dict[str, tuple[Callable, Callable]] = {
    "four modes": _mixture([0.2, 0.3, 0.2, 0.3], [-3.0, -0.8, 0.6, 2.5], [0.4, 0.25, 0.2, 0.6]),
    "skewed": (
        lambda random, n: np.exp(0.8 * random.standard_normal(n)),
        lambda x: -0.5 * (np.log(x) / 0.8) ** 2 - np.log(x) - math.log(0.8 * math.sqrt(2 * math.pi)),
    ),
    "a gap": (
        lambda random, n: np.where(random.random(n) < 0.6, -2 + random.random(n), 0.5 + random.random(n)),
        _gap,
    ),
}
BOUND = 3.0  # half-width of the box of splines and polynomials, in deviations of the data
MAPS: dict[str, Callable[[], AbstractBijection]] = {
    "linear": lambda: LinearSpline(12, bound=BOUND),
    "quadratic": lambda: QuadraticSpline(12, bound=BOUND),
    "cubic": lambda: CubicSpline(11, bound=BOUND),
    "rational_quadratic": lambda: RationalQuadraticSpline(8, bound=BOUND),
    "linear_rational": lambda: LinearRationalSpline(6, bound=BOUND),
    "bernstein": lambda: Bernstein(24, bound=BOUND),
    "sum_of_squares": lambda: SumOfSquares(10, n_squares=2, bound=BOUND),
    "mixture_logistic": lambda: MixtureLogistic(8),
    "mixture_gaussian": lambda: Chain([NormalToLogistic(), MixtureNormal(8)]),
    "sigmoidal": lambda: Sigmoidal(8),
    "dense_sigmoidal": lambda: Sigmoidal(2, depth=2),
    "monotone_integral": lambda: MonotoneIntegral(1, width=3, bound=BOUND),
    "squared, 5 in a row": lambda: Chain([NonlinearSquared() for _ in range(5)]),
    "sinh_arcsinh + affine, 6 in a row": lambda: Chain([build() for _ in range(6) for build in (SinhArcsinh, Affine)]),
    "heavy_tails + spline": lambda: Chain([HeavyTails(), RationalQuadraticSpline(7, bound=BOUND)]),
}


def shapes(names: list[str]) -> dict[str, Any]:
    rows, pictures = [], {}
    for target, (draw, log_density) in TARGETS.items():
        train, test = (draw(np.random.default_rng(seed), 20_000)[:, None] for seed in (0, 1))
        truth = log_density(test[:, 0])
        low, high = np.quantile(train, [0.001, 0.985])
        grid = np.linspace(low - 0.5, high + 0.5, 600)
        for name in names:
            start = pf.elementwise_flow(dim=1, key=0, transformer=MAPS[name]())
            flow, _ = pf.fit(start, train, key=0, max_epochs=60, learning_rate=5e-3, progress=False)
            missed = truth - np.asarray(flow.log_prob(test), np.float64)
            rows.append(
                {
                    "target": target,
                    "map": name,
                    "nats_below_truth": round(float(missed.mean()), 4),
                    "standard_error": round(float(missed.std() / math.sqrt(len(missed))), 4),
                    "leaves": count_parameters(start),
                }
            )
            print(rows[-1], flush=True)
            pictures[target, name] = (grid, np.exp(np.asarray(flow.log_prob(grid[:, None]), np.float64)), missed.mean())
    _picture(pictures, names)
    return {"rows": rows}


def _picture(pictures: dict[tuple[str, str], tuple[np.ndarray, np.ndarray, float]], names: list[str]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 5
    bands = math.ceil(len(names) / columns)
    figure = Figure(figsize=(3 * columns, 1.7 * bands * len(TARGETS)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(bands * len(TARGETS), columns, squeeze=False)
    for index, name in enumerate(names):
        for line, (target, (_, log_density)) in enumerate(TARGETS.items()):
            axes = panels[index // columns * len(TARGETS) + line, index % columns]
            grid, density, missed = pictures[target, name]
            with np.errstate(all="ignore"):
                truth = np.nan_to_num(np.exp(log_density(grid)))
            axes.fill_between(grid, truth, color="0.85", linewidth=0)
            axes.plot(grid, density, color="C0", linewidth=1.2)
            axes.set(ylim=(0, 1.45 * truth.max()), yticks=[], xlim=(grid[0], grid[-1]))
            axes.annotate(f"{missed:.3f}", (0.97, 0.93), xycoords="axes fraction", ha="right", va="top", fontsize=9)
            if line == 0:
                axes.set_title(name, fontsize=10)
            if index % columns == 0:
                axes.set_ylabel(target, fontsize=9)
    for axes in panels.flat:
        if not axes.has_data():
            axes.set_visible(False)
    figure.savefig(RESULTS / "laws_shapes.png", dpi=100)


def write(name: str, command: str, result: dict[str, Any]) -> None:
    (RESULTS / f"{name}.json").write_text(json.dumps({"command": command, **result}, indent=1) + "\n")
    columns = list(dict.fromkeys(column for row in result["rows"] for column in row))
    lines = [f"# {name.replace('_', ' ')}", "", f"Made by `{command}`.", "", "| " + " | ".join(columns) + " |"]
    lines += ["|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(row.get(column, "")) for column in columns) + " |" for row in result["rows"]]
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


PAGE = Path(__file__).resolve().parents[2] / "docs" / "choose-a-flow.md"
BEGIN, END = "<!-- laws: begin -->\n", "<!-- laws: end -->\n"
SHOWN = {
    "transformer": "transformer",
    "test_log_likelihood": "test log-likelihood",
    "log_prob_ms": "log_prob, ms",
    "sample_ms": "sample, ms",
    "training_step_ms": "training step, ms",
    "compile_seconds": "compile, s",
}


def refresh_page(rows: list[dict[str, Any]]) -> None:
    """Put the table between the two marks of the page on choosing a flow."""
    lines = []
    for kind in FLOWS:
        lines += [f"**{kind.capitalize()}**", "", "| " + " | ".join(SHOWN.values()) + " |", "|---" * len(SHOWN) + "|"]
        lines += [
            "| " + " | ".join(f"`{row[name]}`" if name == "transformer" else str(row[name]) for name in SHOWN) + " |"
            for row in rows
            if row["flow"] == kind
        ]
        lines += [""]
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n".join(lines) + END + rest.split(END)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Every transformer: log-likelihood and costs.")
    parser.add_argument("--part", choices=("table", "shapes"), required=True)
    parser.add_argument("--laws", help="semicolon-separated names (default: all)")
    options = parser.parse_args()
    command = f"python benchmarks/quality/laws.py --part {options.part}"
    known = MAPS if options.part == "shapes" else {name: 0 for name in TRANSFORMERS if name not in SKIPPED}
    names = options.laws.split(";") if options.laws else list(known)
    if options.part == "shapes":
        write("laws_shapes", command, shapes(names))
    else:
        result = table(names)
        write("laws_table", command, result)
        refresh_page(result["rows"])


if __name__ == "__main__":
    main()
