"""Two versions of this library in interleaved pairs: is a change slower?

    python benchmarks/versions.py --quick                  # against the commit in benchmarks/baseline, in three minutes
    python benchmarks/versions.py --before COMMIT
    python benchmarks/versions.py --before COMMIT --pairs 40 --workloads nsf-43

Both run in the interpreter that runs this. In each pair every operation is timed in one process and then in the other,
the order changes from pair to pair, and the ratio is that of the medians of their calls. Compilation is timed in fresh
processes. Results go to `benchmarks/results/versions.json` and `.md`; with `--quick` they are printed only.
`benchmarks/baseline` names the commit to compare with; set it to the measured one whenever `speed` is run.
"""

import argparse
import importlib.metadata
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from driver import Worker, say, write_json
from workloads import IMAGES, LOG_PROB, SAMPLE, TRAINING_STEP, WORKLOADS, Workload

HERE = Path(__file__).resolve().parent
NAMES = ("nsf-43", "nsf_ar-43", "maf-43", "iaf-43", "real_nvp-43", "nsf-2", "maf-2", "real_nvp-2", "glow-32")
QUICK = ("nsf-43", "maf-43", "nsf-2", "maf-2")
OPERATIONS = (LOG_PROB, TRAINING_STEP, SAMPLE)
VISIT_SECONDS = 0.3
BASELINE = HERE / "baseline"
PACKAGES = ("jax", "jaxlib", "equinox", "numpy")


def main() -> None:
    """Measures, and writes or prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", help="commit to compare with; by default the one in benchmarks/baseline")
    parser.add_argument("--quick", action="store_true", help="few and short pairs of some workloads, printed only")
    parser.add_argument("--pairs", type=int, help="of each operation, by default 20; quick 7")
    parser.add_argument("--workloads", nargs="*", choices=NAMES, metavar="workload", help="default: all; quick: some")
    parser.add_argument(
        "--processes", type=int, help="pairs of fresh processes, for compilation, by default 4; quick 1"
    )
    options = parser.parse_args()
    before = options.before or BASELINE.read_text().strip()
    names = options.workloads or (QUICK if options.quick else NAMES)
    pairs, processes = options.pairs or (7 if options.quick else 20), options.processes or (1 if options.quick else 4)
    command = f"python benchmarks/versions.py --before {before} --pairs {pairs} --processes {processes}"
    made = {
        "command": command if tuple(names) == NAMES else f"{command} --workloads {' '.join(names)}",
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "commits": {"before": commit(before), "after": working_tree()},
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    with checkout(before) as folder:
        folders, records = {"before": folder, "after": HERE.parent}, []
        for workload in (one for one in (*WORKLOADS, *IMAGES) if one.name in names):
            records += compare(
                workload, folders, pairs, processes, VISIT_SECONDS / 2 if options.quick else VISIT_SECONDS
            )
    if options.quick:
        print(table(made, records))
        return
    results = HERE / "results"
    write_json(results / "versions.json", {**made, "records": records})
    (results / "versions.md").write_text(table(made, records))


def commit(name: str) -> str:
    """The short name of a commit of this repository."""
    return _git("rev-parse", "--short=7", name)


def working_tree() -> str:
    """The commit of the working tree, and whether the library differs from it."""
    is_changed = bool(_git("status", "--porcelain", "--", "src"))
    return commit("HEAD") + (" with changes" if is_changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(HERE.parent), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A folder with the files of a commit of this repository."""
    with tempfile.TemporaryDirectory() as folder:
        git = ("git", "-C", str(HERE.parent), "worktree")
        subprocess.run([*git, "add", "--quiet", "--detach", f"{folder}/before", commit], check=True)
        try:
            yield Path(folder) / "before"
        finally:
            subprocess.run([*git, "remove", "--force", f"{folder}/before"], check=True)


def compare(workload: Workload, folders: dict[str, Path], pairs: int, processes: int, visit: float) -> list[dict]:
    """A record for each operation of a workload: times of either version by pair, and of its first call by process."""
    compiling: dict[str, dict[str, list[float]]] = {}
    times: dict[str, dict[str, list[float]]] = {}
    for index in range(processes):
        workers = {name: Worker("ours", folder) for name, folder in folders.items()}
        for name in order(folders, index):
            workers[name].ask("build", workload=workload.to_dict())
            for operation in OPERATIONS:
                seconds = workers[name].ask("first", operation=operation)
                compiling.setdefault(operation, {}).setdefault(name, []).append(seconds)
        if index == processes - 1:
            times = {operation: in_pairs(workers, operation, pairs, visit) for operation in OPERATIONS}
        for worker in workers.values():
            worker.close()
    records = [
        {"workload": workload.name, "operation": operation, **times[operation], "compiling": compiling[operation]}
        for operation in OPERATIONS
    ]
    for record in records:
        say(str(row(record)))
    return records


def order(names: dict[str, Path], turn: int) -> list[str]:
    """The two names, the other one first in every second turn."""
    return list(names) if turn % 2 == 0 else list(names)[::-1]


def in_pairs(workers: dict[str, Worker], operation: str, pairs: int, visit: float) -> dict[str, list[float]]:
    """Medians of the calls of either version, one for each pair."""
    once = max(statistics.median(w.ask("time", operation=operation, repeats=3, uncounted=2)) for w in workers.values())
    calls = max(3, min(300, round(visit / once)))
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
        f"{packages}. Before: commit {made['commits']['before']}; after: {made['commits']['after']}. {explained}",
        "",
        f"| {' | '.join(heading)} |",
        f"|{' --- |' * len(heading)}",
    ]
    lines += [*(f"| {' | '.join(row(record))} |" for record in records), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
