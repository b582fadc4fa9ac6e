"""What public calls cost a GPU, counted without one, in this library and in an earlier commit.

    python benchmarks/accelerator_counts.py                      # against the commit before the work on public calls
    python benchmarks/accelerator_counts.py --before COMMIT
    python benchmarks/accelerator_counts.py --workloads maf-43-512

For each workload and call: programs launched, arrays sent to the device and read back; and of the programs, lowered for
the platform "cuda": products and their operations, other operations, bytes, loops, products in sequence. How a CPU is
made to take a GPU's way is in `workers/accelerator_calls.py`, how programs are counted in `program_counts.py`.
Nothing is timed: the times are those of `run.py --accelerator`, on a GPU. It takes six minutes on one core. Results go
to `benchmarks/results/accelerator/counts.json` and `.md`; with `--workloads` they are printed only.
"""

import argparse
import dataclasses
import datetime
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import environments
import tables
from driver import write_json
from versions import HERE, PACKAGES, checkout, commit, working_tree
from workloads import IMAGES, WORKLOADS, Workload

BEFORE = "1501192"  # the last commit before each public call became one program
RESULTS = HERE / "results" / "accelerator"
BATCHES = (512, 8192)
NAMES = (*(f"{family}-{dim}" for family in ("nsf", "real_nvp", "maf", "nsf_ar") for dim in (2, 43)), "maf-256")
IMAGE = "glow-32"


def workloads() -> tuple[Workload, ...]:
    """The flows of tables at a small batch and at one that fills a GPU, and images."""
    named = {one.name: one for one in (*WORKLOADS, *IMAGES)}
    rows = [
        dataclasses.replace(named[name], name=f"{name}-{batch}", batch=batch) for name in NAMES for batch in BATCHES
    ]
    return (*rows, named[IMAGE])


def counts_of(checkout_folder: Path, chosen: list[Workload]) -> list[dict]:
    """A record for each workload and call of the library in this checkout, from a separate process."""
    environment = {
        key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
    }
    done = subprocess.run(
        [sys.executable, str(HERE / "workers" / "accelerator_calls.py")],
        input=json.dumps([one.to_dict() for one in chosen]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=environment
        | {"JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(checkout_folder / "src")},
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def compared(before: list[dict], after: list[dict]) -> list[dict]:
    """Both counts of each workload and call."""
    return [
        {"workload": old["workload"], "operation": old["operation"], "before": _numbers(old), "after": _numbers(new)}
        for old, new in zip(before, after, strict=True)
    ]


def _numbers(record: dict) -> dict:
    return {key: value for key, value in record.items() if key not in ("workload", "operation")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default=BEFORE, help="commit to compare with")
    names = [one.name for one in workloads()]
    parser.add_argument("--workloads", nargs="*", choices=names, metavar="workload", help="some of them, printed only")
    options = parser.parse_args()
    chosen = [one for one in workloads() if one.name in (options.workloads or names)]
    result = {
        "name": "counts",
        "command": environments.command("accelerator_counts.py"),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": environments.machine(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commits": {"before": commit(options.before), "after": working_tree()},
        "failures": [],
    }
    with checkout(options.before) as folder:
        before = counts_of(folder, chosen)
    result["rows"] = compared(before, counts_of(HERE.parent, chosen))
    text = tables.page("Public calls counted for a GPU", result, tables.counts(result))
    if options.workloads:
        print(text)
        return 0
    write_json(RESULTS / "counts.json", result)
    (RESULTS / "counts.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
