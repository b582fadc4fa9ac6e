"""Savings by cached programs: the time of a command with an empty cache of compiled programs, and of a second run.

    python benchmarks/startup.py [--rounds 3]

Each command of each round has a separate folder for its programs, so that its first run compiles everything and the
second finds it all.
The table has 2,000 rows of two columns; the flow is the default one, for two epochs, so that compiling and not training
is what `fit` does. Wall time and processor time of whole processes; ratios are formed within a round.
Results go to `benchmarks/results/startup.json` and `.md`.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

RESULTS = Path(__file__).resolve().parent / "results"
COMMANDS = {
    "fit": ("fit", "data.npy", "-o", "model.safetensors", "--epochs", "2"),
    "score": ("score", "model.safetensors", "data.npy", "-o", "scores.npy"),
    "sample": ("sample", "model.safetensors", "-n", "1000", "-o", "samples.npy"),
    "check": ("check", "model.safetensors", "data.npy"),
}


def seconds(arguments: tuple[str, ...], folder: Path, cache: Path) -> tuple[float, float]:
    """Wall and processor time of one command in a separate process."""
    variables = {name: value for name, value in os.environ.items() if name != "PUSHFORWARD_CACHE"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pushforward", *arguments, "--quiet"],
        cwd=folder,
        env=variables | {"XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(rounds: int) -> list[dict[str, Any]]:
    """A row for each command: times of its first and second run, by round."""
    rows: dict[str, dict[str, Any]] = {name: {"command": name, "first": [], "second": []} for name in COMMANDS}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            np.save(folder / "data.npy", np.random.default_rng(0).normal(size=(2000, 2)))
            for name, arguments in COMMANDS.items():
                for turn in ("first", "second"):
                    if turn == "second":
                        for made in ("scores.npy", "samples.npy"):
                            (folder / made).unlink(missing_ok=True)
                    more = ("--overwrite",) if name == "fit" and turn == "second" else ()
                    rows[name][turn].append(seconds((*arguments, *more), folder, folder / f"cache-{name}"))
            cache_sizes = {
                name: [path.stat().st_size for path in (folder / f"cache-{name}").rglob("*") if path.is_file()]
                for name in COMMANDS
            }
    for name, row in rows.items():
        row["ratio"] = statistics.median(a[0] / b[0] for a, b in zip(row["first"], row["second"], strict=True))
        row["kept_files"], row["kept_bytes"] = len(cache_sizes[name]), sum(cache_sizes[name])
    return list(rows.values())


def page(result: dict[str, Any]) -> str:
    rows = result["rows"]
    lines = [
        "# Kept programs",
        "",
        f"Made by `{result['command']}` on {result['date']}: {result['machine']}; load before the run "
        f"{result['load_before']:.2f}.",
        "",
        "2,000 rows of two columns, the default flow, two epochs; whole processes, medians over "
        f"{result['rounds']} rounds, each command with an empty folder of programs at first. Wall (processor) seconds.",
        "",
        "| command | first run | second run | first / second | cached programs, MiB |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        wall, processor = (
            [statistics.median(times[part] for times in row[turn]) for turn in ("first", "second")] for part in (0, 1)
        )
        cells = " | ".join(f"{one:.1f} ({other:.1f})" for one, other in zip(wall, processor, strict=True))
        cache_sizes = f"{row['kept_files']}, {row['kept_bytes'] / 2**20:.1f}"
        lines.append(f"| {row['command']} | {cells} | {row['ratio']:.2f} | {cache_sizes} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    result = {
        "command": " ".join(["python benchmarks/startup.py", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, jax {jax.__version__}",
        "load_before": round(load, 2),
        "rounds": options.rounds,
        "rows": measured(options.rounds),
    }
    (RESULTS / "startup.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "startup.md").write_text(page(result))
    print(page(result))


if __name__ == "__main__":
    main()
