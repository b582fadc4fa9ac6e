"""`pushforward score` on millions of rows: rows per second and peak memory, with the densities of scikit-learn.

    python benchmarks/score_table.py [--rows 1000000,5000000]

A table of 6 columns is written as polars writes Parquet by default, and an nsf of default size is fitted by the command
line to its first 50,000 rows, for two epochs: how well it fits does not matter here. Then `pushforward score` runs as a
separate process, Parquet in and Parquet out, and once CSV in and CSV out. Peak memory is the greatest resident set
of the process. scikit-learn's densities are fitted to the same 50,000 rows and score as many rows as they manage
in the time; their rate is that of `score_samples` alone. The parts of our own work are timed alone: reading, the flow
in double precision on one thread, writing. Results go to `benchmarks/results/score_table.json` and `.md`.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

import pushforward as pf
from pushforward.core.float64 import log_prob_float64
from pushforward.tabular.files import read_batches, write_batches

RESULTS = Path(__file__).resolve().parent / "results"
SIZES, TRAINED, NAMES = (1_000_000, 5_000_000), 50_000, tuple("abcdef")
KERNEL_ROWS, MIXTURE_ROWS, FLOW_ROWS, COMPONENTS = 2_000, 1_000_000, 2**17, 20
# The system's own count of a child's memory starts with that of its parent; the status file's starts with the program.
MAIN = """
import sys
from pathlib import Path
from pushforward.cli.app import run
code = run(sys.argv[1:])
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
sys.exit(code)
"""


def made(rows: int) -> np.ndarray:
    """Two moons, a skewed column, and three that follow them."""
    random = np.random.default_rng(0)
    angle, side = random.uniform(0, np.pi, rows), random.integers(0, 2, rows)
    a = np.cos(angle) * (1 - 2 * side) + side + random.normal(0, 0.1, rows)
    b = np.sin(angle) * (1 - 2 * side) + side / 2 + random.normal(0, 0.1, rows)
    c = random.gamma(2.0, 3.0, rows)
    others = np.stack([a * b, np.sqrt(c), a + c], axis=1) + random.normal(0, 0.3, (rows, 3))
    return np.concatenate([np.stack([a, b, c], axis=1), others], axis=1)


def command(*arguments: object) -> dict[str, float]:
    """Seconds and peak megabytes of one command, in a separate process."""
    # Compiled programs are not cached: every run is a first run.
    environment = os.environ | {"PUSHFORWARD_CACHE": "off", "JAX_PLATFORMS": "cpu"}
    start = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, arguments), "--quiet"],
        env=environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": seconds,
        "processor_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mb": int(done.stdout) / 1024,
    }


def rate(work: Callable[[], object], rows: int) -> float:
    """Rows per second of one call."""
    start = time.perf_counter()
    work()
    return rows / (time.perf_counter() - start)


def scored(folder: Path, model: Path, source: Path, rows: int) -> dict:
    target = folder / f"scores{source.suffix}"
    measurements = command("score", model, source, "-o", target, "--overwrite")
    target.unlink()
    return {
        "format": source.suffix[1:],
        "rows": rows,
        "rows_per_second": rows / measurements["seconds"],
        **measurements,
    }


def parts(folder: Path, model: Path, source: Path, rows: int, x: np.ndarray) -> dict[str, float]:
    """Rates of reading, of the flow on one thread, and of writing."""
    flow = pf.load(model)
    log_prob_float64(flow, x[:1024])
    pieces = np.array_split(x[:, :1], 16)
    return {
        "reading": rate(lambda: sum(len(batch.values) for batch in read_batches(source)), rows),
        "flow, float64, one thread": rate(lambda: log_prob_float64(flow, x), len(x)),
        "writing": rate(lambda: write_batches(folder / "w.parquet", pieces, ["log_prob"], overwrite=True), len(x)),
    }


def peers(train: np.ndarray, x: np.ndarray) -> list[dict]:
    spread = float(np.std(train, axis=0).mean())
    kernel = KernelDensity(bandwidth=spread * len(train) ** (-1 / (train.shape[1] + 4))).fit(train)
    mixture = GaussianMixture(COMPONENTS, random_state=0, max_iter=300).fit(train)
    few, many = x[:KERNEL_ROWS], x[:MIXTURE_ROWS]
    return [
        {"what": f"KernelDensity.score_samples, {TRAINED:,} points", "rows": len(few),
         "rows_per_second": rate(lambda: kernel.score_samples(few), len(few))},
        {"what": f"GaussianMixture.score_samples, {COMPONENTS} components", "rows": len(many),
         "rows_per_second": rate(lambda: mixture.score_samples(many), len(many))},
    ]  # fmt: skip


def page(result: dict) -> str:
    lines = [
        "# Scoring a large table",
        "",
        f"Made by `{result['command']}` on {result['date']}: {result['machine']}; load before the run "
        f"{result['load_before']:.2f}, after it {result['load_after']:.2f}.",
        "",
        f"`pushforward score`, an nsf of default size, {len(NAMES)} columns, double precision; the whole process, its "
        "start and compilation included. Each processor second is one of one core: on a machine that does something "
        "else besides, it says more than the clock does.",
        "",
        "| format | rows | seconds | rows/s | processor seconds | rows/processor s | peak memory, MB |",
        "|---" * 7 + "|",
    ]
    for one in result["score"]:
        spent = one["processor_seconds"]
        lines.append(
            f"| {one['format']} | {one['rows']:,} | {one['seconds']:.1f} | {one['rows_per_second']:,.0f} | {spent:.1f} "
            f"| {one['rows'] / spent:,.0f} | {one['peak_mb']:.0f} |"
        )
    lines += ["", "| alone | rows/s |", "|---|---|"]
    lines += [f"| {name} | {value:,.0f} |" for name, value in result["parts"].items()]
    lines += ["", "| scikit-learn | rows scored | rows/s |", "|---|---|---|"]
    lines += [f"| {one['what']} | {one['rows']:,} | {one['rows_per_second']:,.0f} |" for one in result["peers"]]
    return "\n".join(lines) + "\n"


def measured(sizes: tuple[int, ...], folder: Path) -> dict:
    x, model = made(max(sizes)), folder / "model.safetensors"
    pl.DataFrame(x[:TRAINED], schema=NAMES, orient="row").write_parquet(folder / "train.parquet")
    command("fit", folder / "train.parquet", "-o", model, "--epochs", 2)
    sources = []
    for rows in sizes:
        sources.append((folder / f"t{rows}.parquet", rows))
        pl.DataFrame(x[:rows], schema=NAMES, orient="row").write_parquet(sources[-1][0])
    text = folder / "t.csv"
    pl.DataFrame(x[: sizes[0]], schema=NAMES, orient="row").write_csv(text)
    return {
        "score": [scored(folder, model, *source) for source in (*sources, (text, sizes[0]))],
        "parts": parts(folder, model, *sources[0], x[:FLOW_ROWS]),
        "peers": peers(x[:TRAINED], x[TRAINED:]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(map(str, SIZES)), help="Rows of the tables, the smallest first.")
    chosen_rows, load = parser.parse_args().rows, os.getloadavg()[0]
    sizes = tuple(int(part) for part in chosen_rows.split(","))
    with tempfile.TemporaryDirectory() as folder:
        measurements = measured(sizes, Path(folder))
    result = {
        "command": "python benchmarks/score_table.py" + ("" if sizes == SIZES else f" --rows {chosen_rows}"),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, cpu, polars {pl.__version__}",
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        **measurements,
    }
    (RESULTS / "score_table.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "score_table.md").write_text(page(result), encoding="utf-8")
    print(page(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
