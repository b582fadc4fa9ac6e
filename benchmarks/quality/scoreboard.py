"""The scoreboard: published results and ours, one command a row, which can be broken off and run again.

    python benchmarks/quality/scoreboard.py --list
    python benchmarks/quality/scoreboard.py --speed                # time of a step of every row, on a quiet machine
    python benchmarks/quality/scoreboard.py --row power-maf        # runs, or goes on, for at most 60 minutes

A budget in minutes becomes a number of updates, by the stored time of a step on a quiet machine: so a row does not
depend on what else the machine does while it runs. Checkpoints lie in `benchmarks/.data/`; a run that was broken off
goes on by the same command. Test rows are scored once, at the end; validation rows choose the epoch. Results go to
`benchmarks/results/scoreboard.json` and `.md`.
"""

import argparse
import datetime
import importlib.metadata
import json
import math
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import power
from scoreboard_rows import ROWS, Row

import pushforward as pf

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "scoreboard.json"
CHECKPOINTS = power.STORED.parent / "scoreboard"
PART_SECONDS = 3600
SPEED_STEPS, SPEED_EPOCHS = 60, 6
PACKAGES = ("jax", "jaxlib", "equinox", "optax", "numpy")


def stored() -> dict[str, Any]:
    """The results so far."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {"steps": {}, "rows": {}}


def store(part: str, name: str, entry: dict[str, Any]) -> None:
    """Add an entry, and write the page."""
    results = stored()
    results[part][name] = entry
    known = {key: results[part][key] for key in ROWS if key in results[part]}
    results[part] = known
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(page(results))


def measure_step(row: Row) -> dict[str, Any]:
    """Milliseconds of an update in `fit`: the median over epochs of a few updates."""
    rows = power.power().train[: SPEED_STEPS * row.batch_size]
    _, history = pf.fit(
        row.build(0), rows, key=0, batch_size=row.batch_size, max_epochs=SPEED_EPOCHS, validation=0, start="given",
        progress=False,
    )  # fmt: skip
    seconds = np.diff(history.seconds)
    return {
        "milliseconds": round(1e3 * statistics.median(seconds) / SPEED_STEPS, 3),
        "least": round(1e3 * float(min(seconds)) / SPEED_STEPS, 3),
        "load": os.getloadavg()[0], "date": today(),
    }  # fmt: skip


def run(row: Row, step: dict[str, Any]) -> dict[str, Any] | None:
    """Train, or go on; the record of the row, or None where the part is over before the budget."""
    data = power.power()
    epoch_steps = len(data.train) // row.batch_size
    epochs = max(1, round(60e3 * row.minutes / step["milliseconds"] / epoch_steps))
    flow, folder = row.build(0), CHECKPOINTS / row.name
    signal.signal(signal.SIGALRM, _interrupt)
    signal.alarm(PART_SECONDS)
    flow, history = pf.fit(
        flow, data.train, validation=data.validation, key=0, batch_size=row.batch_size, max_epochs=epochs,
        patience=epochs, learning_rate=row.learning_rate, start=row.start, checkpoint=folder, resume=True,
    )  # fmt: skip
    signal.alarm(0)
    if history.stop_reason == "interrupted":
        return None
    log_probs = np.asarray(flow.log_prob(data.test), np.float64)
    shutil.rmtree(folder)
    return {
        "settings": row.settings, "published": row.published, "source": row.source,
        "test": round(float(log_probs.mean()), 4),
        "two_standard_errors": round(2 * float(log_probs.std()) / math.sqrt(len(log_probs)), 4),
        "validation": round(history.best_validation, 4), "best_epoch": history.best_epoch, "epochs": epochs,
        "updates": epochs * epoch_steps, "batch_size": row.batch_size, "budget_minutes": row.minutes,
        "step_milliseconds": step["milliseconds"], "wall_seconds": round(history.seconds[-1]),
        "skipped_steps": history.skipped_steps, "seed": 0,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(flow) if _is_trained(leaf)),
        "curve": [round(value, 4) for value in history.validation],
        "command": f"python benchmarks/quality/scoreboard.py --row {row.name}", "date": today(), "commit": commit(),
        "cores": os.cpu_count(), "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }  # fmt: skip


def _is_trained(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and np.issubdtype(leaf.dtype, np.floating)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def commit() -> str:
    """The commit of the working tree, and whether the library differs from it."""
    git = ["git", "-C", str(HERE), "-c", "core.abbrev=7"]
    name = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
    changed = subprocess.run([*git, "status", "--porcelain", "--", "../../src"], capture_output=True, text=True).stdout
    return name.strip() + (" with changes" if changed else "")


def page(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# Scoreboard: POWER", "",
        "Test log-likelihood in nats a row, standardised data, the splits of Papamakarios, Pavlakou & Murray 2017: "
        "1,659,917 rows to train on, 184,435 to validate, 204,928 to test. One seed; the error is two standard errors "
        "over the test rows. Each row by `python benchmarks/quality/scoreboard.py --row NAME`. Budget: minutes on two "
        "quiet cores, turned into updates by the time of a step.", "",
        "| row | flow | budget, min | updates | ours | published | source | parameters |", "|" + " --- |" * 8,
    ]  # fmt: skip
    for name, entry in results["rows"].items():
        published = "" if entry["published"] is None else f"{entry['published'][0]:.2f} ± {entry['published'][1]:.2f}"
        lines.append(
            f"| {name} | {entry['settings']} | {entry['budget_minutes']:g} | {entry['updates']:,} | "
            f"{entry['test']:.3f} ± {entry['two_standard_errors']:.3f} | {published} | {entry['source']} | "
            f"{entry['parameters']:,} |"
        )
    lines += [
        "", "Time of an update, ms, batches as in the row:", "", "| row | ms | load before |", "|" + " --- |" * 3,
        *(f"| {name} | {one['milliseconds']:.2f} | {one['load']:.2f} |" for name, one in results["steps"].items()), "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="the rows, and which have results")
    what.add_argument("--speed", nargs="*", choices=list(ROWS), metavar="row", help="time updates; default: all rows")
    what.add_argument("--row", choices=list(ROWS), metavar="row", help="run a row, or go on with it")
    options = parser.parse_args()
    results = stored()
    if options.list:
        for name, row in ROWS.items():
            print(f"{name:20} {results['rows'].get(name, {}).get('test', '')!s:8} {row.settings}")
        return 0
    if options.row is None:
        for name in options.speed or ROWS:
            store("steps", name, measure_step(ROWS[name]))
            print(name, stored()["steps"][name], flush=True)
        return 0
    if options.row not in results["steps"]:
        parser.error(f"no time of a step of {options.row} yet: run --speed {options.row} on a quiet machine first.")
    started = time.monotonic()
    entry = run(ROWS[options.row], results["steps"][options.row])
    if entry is None:
        print(
            f"{options.row}: broken off after {(time.monotonic() - started) / 60:.0f} minutes; run it again to go on."
        )
        return 3
    store("rows", options.row, entry)
    print(options.row, entry["test"], "published", entry["published"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
