"""The latency of one row: an exported program and the public method of the flow.

    python benchmarks/export_latency.py

Seven rounds in turn; each figure is the median of the rounds' medians of 300 calls, input and result on the host.
Results go to `benchmarks/results/export.json` and `.md`.
"""

import datetime
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax import export

import pushforward as pf

RESULTS = Path(__file__).resolve().parent / "results"
ROUNDS, CALLS = 7, 300
FLOWS = {"nsf": pf.nsf, "real_nvp": pf.real_nvp, "maf": pf.maf}
DIMS = (2, 43)


def median_ms(call: Callable[[], object], calls: int = CALLS) -> float:
    durations = []
    for _ in range(calls):
        start = time.perf_counter()
        np.asarray(call())
        durations.append(time.perf_counter() - start)
    return 1e3 * statistics.median(durations)


def measured(name: str, dim: int) -> dict:
    flow = FLOWS[name](dim=dim, key=0)
    folder = Path(tempfile.mkdtemp(), "flow")
    start = time.perf_counter()
    pf.export(flow, folder)
    exporting = time.perf_counter() - start
    score = jax.jit(export.deserialize(bytearray((folder / "score.bin").read_bytes())).call)
    sample = jax.jit(export.deserialize(bytearray((folder / "sample.bin").read_bytes())).call)
    x, index, raw = np.zeros((1, dim), np.float32), np.zeros(1, np.uint32), np.zeros(2, np.uint32)
    key = jax.random.key(0)
    calls = {
        "exported score": lambda: score(x),
        "log_prob": lambda: flow.log_prob(x),
        "exported sample": lambda: sample(raw, index)[0],
        "sample": lambda: flow.sample(1, key=key),
    }
    rounds: dict[str, list[float]] = {figure: [] for figure in calls}
    for call in calls.values():
        median_ms(call, 3)
    for _ in range(ROUNDS):
        for figure, call in calls.items():
            rounds[figure].append(median_ms(call))
    sizes = {f"{part} kB": (folder / f"{part}.bin").stat().st_size // 1000 for part in ("score", "sample")}
    times = {figure: statistics.median(values) for figure, values in rounds.items()}
    return {"flow": name, "dim": dim, "export_seconds": exporting, **times, **sizes}


def page(result: dict) -> str:
    figures = ("exported score", "log_prob", "exported sample", "sample")
    lines = [
        "# One row",
        "",
        f"Made by `{result['command']}` on {result['date']}: {result['cores']} cores, jax {result['jax']}; ms a "
        f"call with one row, median of {ROUNDS} rounds. Programs for cpu, cuda and tpu in one file.",
        "",
        f"| flow | D | {' | '.join(figures)} | exporting, s | score, kB | sample, kB |",
        "|---|---|" + "---|" * (len(figures) + 3),
    ]
    lines += [
        f"| {row['flow']} | {row['dim']} | {' | '.join(f'{row[f]:.3f}' for f in figures)} | "
        f"{row['export_seconds']:.1f} | {row['score kB']} | {row['sample kB']} |"
        for row in result["rows"]
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    result = {
        "command": "python benchmarks/export_latency.py",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "jax": jax.__version__,
        "rows": [measured(name, dim) for name in FLOWS for dim in DIMS],
    }
    (RESULTS / "export.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "export.md").write_text(page(result))
    print(page(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
