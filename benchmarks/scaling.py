"""What linear layers cost over the number of dimensions: claim, counted operations, measured time, fitted exponent.

    python benchmarks/scaling.py

One sample at a time, float32, compiled, the layer's numbers handed over as arguments. Three figures of each layer: x
alone (forward), z alone (inverse), the log-determinant alone. The exponent is the slope of log time over log D in the
largest decade of D in which the time exceeds twenty calls of an empty program; with fewer than three such sizes none is
given. Results go to `benchmarks/results/scaling.json`, `.md` and `.png`.
"""

import datetime
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward.bijections import PLU, Cayley, Dense, Diagonal, Householder, LowRank, Permutation, Triangular

RESULTS = Path(__file__).resolve().parent / "results"
RANK, ROUNDS, VISIT_SECONDS, LONGEST = 8, 7, 0.15, 3.0
EMPTY_CALLS = 20
SIZES = (*(2**k for k in range(4, 13)),)
SIZES_OF_VECTORS = (*(2**k for k in range(10, 25)),)  # where a call costs O(D) only a long vector is seen above it
FIGURES = ("forward", "inverse", "log_det")

# name: builder, sizes, and for each figure the claim and the operations counted (multiplications and additions)
Count = tuple[str, Callable[[int], float]]
LAYERS: dict[str, tuple[Callable[[int], Any], tuple[int, ...], dict[str, Count]]] = {
    "Permutation": (
        lambda d: Permutation(np.random.default_rng(0).permutation(d)),
        SIZES_OF_VECTORS,
        {"forward": ("D", lambda d: d), "inverse": ("D", lambda d: d), "log_det": ("0", lambda d: 0)},
    ),
    "Diagonal": (
        Diagonal,
        SIZES_OF_VECTORS,
        {"forward": ("D", lambda d: 2 * d), "inverse": ("D", lambda d: 2 * d), "log_det": ("D", lambda d: d)},
    ),
    f"LowRank, r = {RANK}": (
        lambda d: LowRank(d, rank=RANK, key=jax.random.key(0)),
        tuple(d for d in SIZES_OF_VECTORS if d <= 2**21),
        {
            "forward": ("r D", lambda d: 4 * RANK * d),
            "inverse": ("r^2 D", lambda d: (2 * RANK**2 + 4 * RANK) * d),
            "log_det": ("r^2 D", lambda d: 2 * RANK**2 * d),
        },
    ),
    "Triangular": (
        Triangular,
        SIZES,
        {"forward": ("D^2", lambda d: d**2), "inverse": ("D^2", lambda d: d**2), "log_det": ("D", lambda d: d)},
    ),
    "PLU": (
        lambda d: PLU(d, key=jax.random.key(0)),
        SIZES,
        {
            "forward": ("D^2", lambda d: 2 * d**2),
            "inverse": ("D^2", lambda d: 2 * d**2),
            "log_det": ("D", lambda d: d),
        },
    ),
    f"Householder, k = {RANK}": (
        lambda d: Householder(d, RANK, key=jax.random.key(0)),
        tuple(d for d in SIZES_OF_VECTORS if d <= 2**21),
        {
            "forward": ("k^2 D", lambda d: (2 * RANK**2 + 4 * RANK) * d),
            "inverse": ("k^2 D", lambda d: (2 * RANK**2 + 4 * RANK) * d),
            "log_det": ("0", lambda d: 0),
        },
    ),
    "Householder, k = D": (
        lambda d: Householder(d, key=jax.random.key(0)),
        SIZES,
        {
            "forward": ("D^3", lambda d: 2 * d**3),
            "inverse": ("D^3", lambda d: 2 * d**3),
            "log_det": ("0", lambda d: 0),
        },
    ),
    "Cayley": (
        Cayley,
        SIZES,
        {
            "forward": ("D^3", lambda d: 2 / 3 * d**3),
            "inverse": ("D^3", lambda d: 2 / 3 * d**3),
            "log_det": ("0", lambda d: 0),
        },
    ),
    "Dense": (
        Dense,
        SIZES,
        {
            "forward": ("D^2", lambda d: 2 * d**2),
            "inverse": ("D^3", lambda d: 2 / 3 * d**3),
            "log_det": ("D^3", lambda d: 2 / 3 * d**3),
        },
    ),
}


def timed(call: Callable[[], Any]) -> float:
    """Median over rounds of the median time of a call."""
    jax.block_until_ready(call())
    start = time.perf_counter()
    jax.block_until_ready(call())
    once = time.perf_counter() - start
    calls = max(1, min(200, int(VISIT_SECONDS / max(once, 1e-6))))
    medians = []
    for _ in range(ROUNDS if once < LONGEST / ROUNDS else 1):
        durations = []
        for _ in range(calls):
            start = time.perf_counter()
            jax.block_until_ready(call())
            durations.append(time.perf_counter() - start)
        medians.append(statistics.median(durations))
    return statistics.median(medians)


def figure_of(name: str) -> Callable[[Any, jax.Array], jax.Array]:
    if name == "forward":
        return lambda layer, v: layer.forward_and_log_det(v)[0]
    if name == "inverse":
        return lambda layer, v: layer.inverse_and_log_det(v)[0]
    return lambda layer, v: layer.forward_and_log_det(v)[1]


def exponent(sizes: list[int], seconds: list[float], empty: float) -> dict | None:
    """The slope over the largest decade in which every time exceeds twenty empty calls."""
    points = [(d, s) for d, s in zip(sizes, seconds, strict=True) if s > EMPTY_CALLS * empty]
    points = [(d, s) for d, s in points if d >= max(d for d, _ in points) / 10]
    if len(points) < 3:
        return None
    slope = np.polyfit([math.log(d) for d, _ in points], [math.log(s) for _, s in points], 1)[0]
    return {"from": points[0][0], "to": points[-1][0], "slope": round(float(slope), 2)}


def measured(empty: float) -> list[dict]:
    rows = []
    for name, (build, sizes, figures) in LAYERS.items():
        for figure in FIGURES:
            claim, count = figures[figure]
            if claim == "0":
                continue
            row = {"layer": name, "figure": figure, "claim": claim, "sizes": [], "operations": [], "seconds": []}
            run = jax.jit(figure_of(figure))
            for size in sizes:
                layer, value = build(size), jnp.ones(size)
                seconds = timed(lambda run=run, layer=layer, value=value: run(layer, value))
                for key, number in (("sizes", size), ("operations", count(size)), ("seconds", seconds)):
                    row[key].append(number)
                print(f"{name:20} {figure:8} D = {size:>9,} {count(size):>12.3g} operations {seconds * 1e3:10.4f} ms")
                if seconds > LONGEST:
                    break
            row["exponent"] = exponent(row["sizes"], row["seconds"], empty)
            rows.append(row)
    return rows


def page(result: dict) -> str:
    lines = [
        "# Scaling of the linear layers",
        "",
        f"Made by `{result['command']}` on {result['date']}: {result['cores']} cores, {result['architecture']}, jax "
        f"{result['jax']}. An empty call takes {result['empty_seconds'] * 1e6:.0f} us.",
        "",
        "Operations grow by the claim; times grow faster where the decade begins in cache and ends in memory, and "
        "slower where a factorisation begins too small for its kernels: see docs/decisions.md.",
        "",
        "| layer | figure | claim | operations at the largest D | largest D | time there | exponent | fitted over D |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        fit = row["exponent"]
        fitted = f"{fit['slope']:.2f} | {fit['from']:,} to {fit['to']:,}" if fit else "- | too fast to tell"
        lines.append(
            f"| {row['layer']} | {row['figure']} | O({row['claim']}) | {row['operations'][-1]:.3g} | "
            f"{row['sizes'][-1]:,} | {row['seconds'][-1] * 1e3:.3g} ms | {fitted} |"
        )
    return "\n".join(lines) + "\n"


def draw(result: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(15, 4.8), sharey=True, layout="constrained")
    colours = {name: f"C{index}" for index, name in enumerate(LAYERS)}
    limit = 1e3 * EMPTY_CALLS * result["empty_seconds"]
    for axis, name in zip(axes, FIGURES, strict=True):
        for row in (row for row in result["rows"] if row["figure"] == name):
            milliseconds = [1e3 * s for s in row["seconds"]]
            axis.loglog(row["sizes"], milliseconds, marker=".", label=row["layer"], color=colours[row["layer"]])
        axis.axhline(limit, color="0.6", linestyle=":", label="twenty empty calls")
        axis.set(title=name.replace("_", "-"), xlabel="D")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=9)
    axes[0].set_ylabel("ms a call, one sample")
    figure.savefig(path, dpi=110)


def main() -> int:
    one = jnp.ones(())
    nothing = jax.jit(lambda v: v)
    empty = timed(lambda: nothing(one))
    result = {
        "command": "python benchmarks/scaling.py",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "architecture": platform.machine(),
        "jax": jax.__version__,
        "empty_seconds": empty,
        "rows": measured(empty),
    }
    (RESULTS / "scaling.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "scaling.md").write_text(page(result))
    draw(result, RESULTS / "scaling.png")
    print(page(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
