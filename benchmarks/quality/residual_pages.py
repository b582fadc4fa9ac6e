"""The figures of `residual.py` as Markdown; every number comes from its JSON."""

from collections.abc import Callable
from typing import Any


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows)] + [""]


def estimators(result: dict[str, Any]) -> tuple[str, list[str]]:
    lines = [
        f"log det(I + A), A of 16 x 16 with norm L, {result['keys']:,} keys. Terms: the mean number. Finite: whether "
        "the variance is finite for every A of norm L. The error of the mean is given with its standard error; where "
        "the variance is infinite, neither it nor the deviation can be trusted.",
        "",
    ]
    for kind in dict.fromkeys(row["matrix"] for row in result["rows"]):
        table = [
            [
                f"{row['bound']:g}", row["way"], f"{row['terms']:.1f}",
                "yes" if row["finite_variance_at_worst"] else "NO",
                f"{row['error_of_mean']:+.4f} +- {row['standard_error']:.4f}",
                f"{row['deviation']:.3f}", f"{row['largest']:.1f}",
            ]
            for row in result["rows"] if row["matrix"] == kind
        ]  # fmt: skip
        head = ["L", "estimator", "terms", "finite", "mean - truth", "deviation", "largest error"]
        lines += [f"## A {kind}", "", *_table(head, table)]
    return "Log-determinants by estimation: terms and deviation", lines


def bounds(result: dict[str, Any]) -> tuple[str, list[str]]:
    table = [
        [
            row["data"], str(row["dim"]), str(row["layers"]), f"{row['largest_norm_over_bound']:.6f}",
            f"{row['certified']:.4f}", f"{row['inverse_error']:.1e}", f"{row['turns'][0]:.1f} ({row['turns'][1]})",
            f"{row['validation_log_likelihood']:.3f}", f"{row['gaussian']:.3f}",
        ]
        for row in result["rows"]
    ]  # fmt: skip
    return "Bounds after training", [
        f"Residual flows of ten blocks, L = {result['lipschitz']}, trained in float32, then cast to float64. Norms are "
        "singular values of the weights as stored; an inverse error is the greatest of 500 rows after data to base and "
        "back, in units of each column's deviation. Iterations of the solver in the first block: mean (most).",
        "",
        *_table(
            ["data", "D", "layers", "largest norm / bound", "certified L", "inverse error", "iterations",
             "validation log-likelihood", "Gaussian"],
            table,
        ),
    ]  # fmt: skip


def depth(result: dict[str, Any]) -> tuple[str, list[str]]:
    table = [
        [
            row["data"], str(row["n_layers"]), str(row["width"]), f"{row['parameters']:,}", f"{row['steps']:,}",
            f"{row['nats']:.3f} +- {row['standard_error']:.3f}", f"{row['truth']:.3f}", f"{row['gaussian']:.3f}",
            " / ".join(f"{value:.2g}" for value in row["first_block_gradient"]), str(row["skipped_steps"]),
            f"{row['seconds']:.0f}",
        ]
        for row in result["rows"]
    ]  # fmt: skip
    plain = [
        ["with" if row["has_skips"] else "without", str(row["n_blocks"]),
         ", ".join(f"{error:.2g}" for error in sorted(row["errors"])), f"{row['variance']:.2g}"]
        for row in result["plain"]
    ]  # fmt: skip
    return "Depth of residual flows", [
        "43-D: 21 shapes of the plane and a normal, turned at random. The gradient is that of the block next to the "
        "data, whose way to the likelihood is the longest, before / after training.",
        "",
        *_table(
            ["data", "blocks", "width", "parameters", "steps", "test log-likelihood", "truth", "Gaussian",
             "gradient norm", "skipped", "s"],
            table,
        ),
        "## Plain regression networks: mean squared training error, three seeds", "",
        "1,500 steps of Adam at 1e-3 falling to zero, clipping at 1, start weights of He et al. (with skips divided by "
        "the root of the depth). A network without skips is no bijection: this shows why a deep flow needs them.", "",
        *_table(["skips", "blocks of two layers", "errors", "variance of the target"], plain),
        "![depth](residual_depth.png)",
    ]  # fmt: skip


def nats(result: dict[str, Any]) -> tuple[str, list[str]]:
    flows = list(dict.fromkeys(row["flow"] for row in result["rows"]))
    by = {(row["data"], row["flow"]): row for row in result["rows"]}
    table = []
    for data in dict.fromkeys(row["data"] for row in result["rows"]):
        truth = by[data, flows[0]]["truth"]
        cells = [f"{by[data, f]['nats']:.3f} +- {by[data, f]['standard_error']:.3f}" for f in flows]
        table.append([data, "" if truth is None else f"{truth:.3f}", *cells])
    times = [
        ["seconds, median", "", *(_median([r["seconds"] for r in result["rows"] if r["flow"] == f]) for f in flows)]
    ]
    sizes = [["parameters in the plane", "", *(f"{by['moons', f]['parameters']:,}" for f in flows)]]
    return "Log-likelihoods of residual flows and other families", [
        "Test log-likelihoods in nats. Every flow is at the defaults of its recipe and of `fit`, one seed; 20,000 "
        "rows to train and to test on for the shapes. Times of a machine that others used too.",
        "",
        *_table(["data", "truth", *flows], [*table, *times, *sizes]),
    ]


def _median(values: list[float]) -> str:
    return f"{sorted(values)[len(values) // 2]:.0f}"


def cost(result: dict[str, Any]) -> tuple[str, list[str]]:
    ways = list(result["rows"][0]["milliseconds"])
    table = [[str(row["dim"]), *(f"{row['milliseconds'][way]:.1f}" for way in ways)] for row in result["rows"]]
    memory = [[str(row["n_terms"]), f"{row['bytes'] / 2**20:.2f}"] for row in result["memory"]]
    return "What a gradient of a residual flow costs", [
        "Three blocks of two hidden layers of 128, L = 0.98, 256 rows: processor milliseconds of value and gradient, "
        "mean of 15 alternating calls. The roulette makes 53 terms on average there.",
        "",
        *_table(["D", *ways], table),
        "## Temporary memory of a compiled gradient over the terms of the series, MiB",
        "",
        "One block, D = 43, two hidden layers of 256, 512 rows.",
        "",
        *_table(["terms", "MiB"], memory),
    ]


PAGES: dict[str, Callable[[dict[str, Any]], tuple[str, list[str]]]] = {
    "estimators": estimators,
    "bounds": bounds,
    "depth": depth,
    "nats": nats,
    "cost": cost,
}
