"""The table recipe x kind of derivative, in both directions and both precisions.

    python benchmarks/quality/derivatives.py                       # all recipes, two processes
    python benchmarks/quality/derivatives.py --recipes nsf maf     # some; the others keep their last figures
    python benchmarks/quality/derivatives.py --missing             # the rows that an interrupted run has left

The rows are those of `tests/test_derivatives.py`, computed by `tests/support/derivative_table.py` (sizes, weights) and
`derivative_kinds.py` (what each kind is). Results go to `benchmarks/results/derivatives.*`.
"""

import argparse
import itertools
import json
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import jax

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from compiling import quickly_compiled  # noqa: E402
from derivative_kinds import KINDS  # noqa: E402
from derivative_table import DIRECTIONS, DTYPES, NAMES, TOLERANCES, row  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
COMMAND = "python benchmarks/quality/derivatives.py"
HEADINGS = {
    "reverse": "reverse (grad of vmap)",
    "forward over reverse": "forward over reverse (hessian)",
    "mapped afterwards": "vmap of grad and hessian",
    "of lax.scan": "grad and hessian of lax.scan",
}
EXPLAINED = (
    "Each cell is the largest error in float64 / in float32. Of log p(x; context), and of the sampler (x and its "
    "log-determinant as functions of z and context), each with respect to the value, the context and all trained "
    "weights at once, along one random direction d with random weights: the vector J d (forward), the product of the "
    "gradient and d (reverse), the vector H d, and its product with a second direction (forward over forward). "
    "Errors are relative to the largest entry. float64 is compared with Richardson differences, which are good for "
    "nine to eleven digits; float32 is compared with float64. The last two columns are derivatives of single samples, "
    "gradient and H d: mapped afterwards, and of a loop."
)


def timed_row(name: str, direction: str) -> tuple[dict, float]:
    """The row, compiled with few optimisations, and the seconds of processor time that it took."""
    start = time.process_time()
    with quickly_compiled():
        return row(name, direction), time.process_time() - start


def write(rows: dict[str, dict]) -> None:
    versions = {
        "date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "python": platform.python_version(),
        "jax": jax.__version__,
    }  # fmt: skip
    content = {"command": COMMAND, **versions, "rows": rows}
    (RESULTS / "derivatives.json").write_text(json.dumps(content, indent=1) + "\n")
    seconds = sum(entry["seconds"] for directions in rows.values() for entry in directions.values())
    missing = 2 * len(NAMES) - sum(map(len, rows.values()))
    lines = [
        "# Derivatives of every recipe",
        "",
        f"Made by `{COMMAND}` on {versions['date']}, {versions['cores']} cores, Python {versions['python']}, "
        f"jax {versions['jax']}; {seconds / 60:.0f} minutes of processor time in all."
        + (f" {missing} rows are not computed yet." if missing else ""),
        "",
        EXPLAINED,
        "",
        f"| recipe | direction | {' | '.join(HEADINGS.get(kind, kind) for kind in KINDS)} |",
        f"|{' --- |' * (2 + len(KINDS))}",
    ]
    for name, directions in rows.items():
        for direction, entry in directions.items():
            errors = [entry["errors"][dtype] for dtype in DTYPES]
            cells = [" / ".join(f"{e[kind]:.0e}" for e in errors if kind in e) for kind in KINDS]
            lines.append(f"| {name} | {direction} | {' | '.join(cells)} |")
    (RESULTS / "derivatives.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Every kind of derivative of every recipe.")
    parser.add_argument("--recipes", nargs="*", choices=NAMES, default=NAMES, metavar="recipe", help="default: all")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--missing", action="store_true", help="only rows without figures")
    options = parser.parse_args()
    path, failures = RESULTS / "derivatives.json", 0
    rows = json.loads(path.read_text())["rows"] if path.exists() else {}
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        cases = [
            (name, direction)
            for name, direction in itertools.product(options.recipes, DIRECTIONS)
            if not (options.missing and direction in rows.get(name, {}))
        ]
        tasks = {pool.submit(timed_row, *case): case for case in cases}
        for task in as_completed(tasks):
            (name, direction), (errors, seconds) = tasks[task], task.result()
            rows.setdefault(name, {})[direction] = {"errors": errors, "seconds": round(seconds, 1)}
            worst = {dtype: max(errors[dtype].values()) for dtype in DTYPES}
            failures += any(not worst[dtype] < TOLERANCES[dtype] for dtype in DTYPES)
            figures = ", ".join(f"{dtype} {error:.0e}" for dtype, error in worst.items())
            print(f"{name} {direction}: {figures}, {seconds:.0f} s", flush=True)
            # so that an interrupted run can go on
            write({n: {d: rows[n][d] for d in DIRECTIONS if d in rows[n]} for n in NAMES if n in rows})
    print(f"{failures} rows are wrong")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
