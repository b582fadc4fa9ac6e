"""Two versions of this library in interleaved pairs: is a change slower?

    python benchmarks/versions.py --before FOLDER          # FOLDER: a checkout of the version before
    python benchmarks/versions.py --before FOLDER --pairs 40 --workloads nsf-43

Both run in the interpreter that runs this. In each pair every operation is timed in one process and then in the other,
the order changes from pair to pair, and the ratio is that of the medians of their calls. Compilation is timed in fresh
processes. Results go to `benchmarks/results/versions.json` and `.md`.
"""

import argparse
import importlib.metadata
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
from driver import Worker, say, write_json
from workloads import LOG_PROB, SAMPLE, TRAINING_STEP, WORKLOADS

HERE = Path(__file__).resolve().parent
NAMES = ("nsf-43", "nsf_ar-43", "maf-43", "iaf-43", "nsf-2", "maf-2")
OPERATIONS = (LOG_PROB, TRAINING_STEP, SAMPLE)
VISIT_SECONDS = 0.3
PACKAGES = ("jax", "jaxlib", "equinox", "numpy")


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="folder of the version to compare with")
    parser.add_argument("--pairs", type=int, default=20, help="of each operation")
    parser.add_argument("--workloads", nargs="*", choices=NAMES, default=NAMES, metavar="workload", help="default: all")
    parser.add_argument("--processes", type=int, default=4, help="pairs of fresh processes, for compilation")
    options = parser.parse_args()
    folders = {"before": options.before.resolve(), "after": HERE.parent}
    made = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    records: list[dict] = []
    for workload in (one for one in WORKLOADS if one.name in options.workloads):
        compiling: dict[str, dict[str, list[float]]] = {}
        for index in range(options.processes):
            last = index == options.processes - 1
            workers = {name: Worker("ours", folder) for name, folder in folders.items()}
            for name in order(folders, index):
                workers[name].ask("build", workload=workload.to_dict())
                for operation in OPERATIONS:
                    seconds = workers[name].ask("first", operation=operation)
                    compiling.setdefault(operation, {}).setdefault(name, []).append(seconds)
            if last:
                times = {operation: in_pairs(workers, operation, options.pairs) for operation in OPERATIONS}
            for worker in workers.values():
                worker.close()
        for operation in OPERATIONS:
            records.append(
                {"workload": workload.name, "operation": operation, **times[operation]}
                | {"compiling": compiling[operation]}
            )
            say(str(row(records[-1])))
    command = f"python benchmarks/versions.py --before FOLDER --pairs {options.pairs} --processes {options.processes}"
    if options.workloads != NAMES:
        command += f" --workloads {' '.join(options.workloads)}"
    results, made = HERE / "results", {"command": command, **made}
    write_json(results / "versions.json", {**made, "records": records})
    (results / "versions.md").write_text(table(made, records))


def order(names: dict[str, Path], turn: int) -> list[str]:
    """The two names, the other one first in every second turn."""
    return list(names) if turn % 2 == 0 else list(names)[::-1]


def in_pairs(workers: dict[str, Worker], operation: str, pairs: int) -> dict[str, list[float]]:
    """Medians of the calls of either version, one for each pair."""
    once = max(statistics.median(w.ask("time", operation=operation, repeats=3, uncounted=2)) for w in workers.values())
    calls = max(3, min(300, round(VISIT_SECONDS / once)))
    times: dict[str, list[float]] = {name: [] for name in workers}
    for turn in range(pairs):
        for name in order(dict.fromkeys(workers, HERE), turn):
            seconds = workers[name].ask("time", operation=operation, repeats=calls, uncounted=2)
            times[name].append(statistics.median(seconds))
    return times


def interval(ratios: np.ndarray) -> tuple[float, float]:
    """95 % interval of the median, by the bootstrap."""
    random = np.random.default_rng(0)
    medians = np.median(random.choice(ratios, (10_000, len(ratios))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)


def row(record: dict) -> tuple[str, ...]:
    """A line of the table."""
    ratios = np.array(record["after"]) / np.array(record["before"])
    low, high = interval(ratios)
    before, after = (statistics.median(record[name]) * 1e3 for name in ("before", "after"))
    first = [statistics.median(record["compiling"][name]) for name in ("before", "after")]
    return (
        record["workload"], record["operation"], f"{before:.2f}", f"{after:.2f}", f"{np.median(ratios):.3f}",
        f"{low:.3f} to {high:.3f}", f"{first[0]:.2f}", f"{first[1]:.2f}",
    )  # fmt: skip


def table(made: dict, records: list[dict]) -> str:
    """The page."""
    heading = ("workload", "operation", "before, ms", "after, ms", "after / before", "95 % interval",
               "first call before, s", "after, s")  # fmt: skip
    explained = (
        "After / before: median over the pairs, with its bootstrap interval. First call: compilation included, median "
        "over fresh processes."
    )
    packages = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    lines = [
        "# Two versions of this library",
        "",
        f"Made by `{made['command']}` on {made['date']}, {made['cores']} cores, load {made['load']:.2f} at the start; "
        f"{packages}. {explained}",
        "",
        f"| {' | '.join(heading)} |",
        f"|{' --- |' * len(heading)}",
    ]
    lines += [*(f"| {' | '.join(row(record))} |" for record in records), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
