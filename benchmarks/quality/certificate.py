"""The power of `pushforward.check` on planted faults, and its false alarms on densities tested on their own samples.

    python benchmarks/quality/certificate.py                        # all
    python benchmarks/quality/certificate.py --before PATH          # compared with the code in PATH/src

The faults and the densities are those of `tests/support/planted_faults.py`: closed forms, nothing is trained. Each
fault is planted at 2,000 and at 10,000 rows with `--repeats` seeds; each density is tested `--healthy` times at either
size. A fault counts as detected if any test of the certificate fails. Results go to
`benchmarks/results/certificate.json` and `.md`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
COMMAND = "python benchmarks/quality/certificate.py"
SIZES = (2_000, 10_000)
sys.path.insert(0, str(ROOT / "tests" / "support"))


def measure(repeats: int, healthy: int, seconds: float) -> list[dict[str, Any]]:
    """One record for each certificate: kind, name, rows, seed, the tests that failed, seconds."""
    import numpy as np
    from planted_faults import FAULTS, HEALTHY

    import pushforward as pf

    began, outcomes = time.perf_counter(), []
    for kind, table, count in (("fault", FAULTS, repeats), ("healthy", HEALTHY, healthy)):
        for seed in range(count):
            for name, planted in table.items():
                for n in SIZES:
                    if kind == "healthy" and time.perf_counter() - began > seconds:
                        continue
                    check_arguments = planted(n, np.random.default_rng([seed, n]))
                    start = time.perf_counter()
                    certificate = pf.check(**check_arguments, key=seed)
                    failed = [row.name for row in certificate.rows if row.ok is False]
                    outcomes.append(
                        {"kind": kind, "name": name, "rows": n, "seed": seed, "failed": failed,
                         "seconds": round(time.perf_counter() - start, 2)}
                    )  # fmt: skip
                    print(kind, name, n, seed, failed, file=sys.stderr, flush=True)
    return outcomes


def elsewhere(source: Path, arguments: list[str]) -> list[dict[str, Any]]:
    """The same in a separate process, with the code in that folder."""
    command = [sys.executable, __file__, "--records", *arguments]
    environment = os.environ | {"PYTHONPATH": str(source)}
    return json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)


def share(records: list[dict[str, Any]], **where: Any) -> tuple[int, int]:
    """How many of the records have a failed test, and how many there are."""
    own = [record for record in records if all(record[key] == value for key, value in where.items())]
    return sum(bool(record["failed"]) for record in own), len(own)


def report(command: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> str:
    """The tables."""
    sides = [side for side in (before, after) if side]
    heads = ["before", "after"] if before else ["after"]

    def counted(kind: str, **where: Any) -> list[str]:
        cells = []
        for n in SIZES:
            for side in sides:
                n_detected, n_total = share(side, kind=kind, rows=n, **where)
                cells.append(f"{n_detected} of {n_total}")
        return cells

    head = "| | " + " | ".join(f"{n:,} rows, {side}" for n in SIZES for side in heads) + " |"
    rule = "| --- " * (1 + 2 * len(heads)) + "|"
    names = {kind: list(dict.fromkeys(r["name"] for r in after if r["kind"] == kind)) for kind in ("fault", "healthy")}

    def seen_by_most(side: list[dict[str, Any]], n: int) -> int:
        return sum(2 * a > b for a, b in (share(side, kind="fault", rows=n, name=name) for name in names["fault"]))

    total = [f"{seen_by_most(side, n)} of {len(names['fault'])}" for n in SIZES for side in sides]
    lines = [
        "# The certificate on planted faults", "",
        f"Made by `{command}`, which says what is planted. Cells: certificates with a failed test, of how many.", "",
        "## Faults", "", head, rule, f"| **faults seen in more than half of the seeds** | {' | '.join(total)} |",
        *(f"| {name} | {' | '.join(counted('fault', name=name))} |" for name in names["fault"]), "",
        "## Densities tested on their own samples", "", head, rule,
        f"| **all** | {' | '.join(counted('healthy'))} |",
        *(f"| {name} | {' | '.join(counted('healthy', name=name))} |" for name in names["healthy"]), "",
    ]  # fmt: skip
    alarms: dict[str, int] = {}
    for record in after:
        for test in record["failed"] if record["kind"] == "healthy" else []:
            alarms[test] = alarms.get(test, 0) + 1
    alarm_counts = ", ".join(f"{test} {count}" for test, count in sorted(alarms.items())) or "none"
    lines += [f"Tests that gave false alarms (after): {alarm_counts}.", ""]
    return "\n".join(lines)


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="folder with the code to compare with")
    parser.add_argument("--repeats", type=int, default=2, help="seeds of each fault")
    parser.add_argument("--healthy", type=int, default=15, help="seeds of each density")
    parser.add_argument("--seconds", type=float, default=3600.0, help="after which no density is tested any more")
    parser.add_argument("--records", action="store_true", help="print the records and write nothing")
    asked = parser.parse_args()
    if asked.records:
        print(json.dumps(measure(asked.repeats, asked.healthy, asked.seconds)))
        return
    before = elsewhere(asked.before, ["--repeats", "1", "--healthy", "1"]) if asked.before else []
    after = measure(asked.repeats, asked.healthy, asked.seconds)
    before_option = " --before FOLDER" if asked.before else ""
    command = (
        f"{COMMAND}{before_option} --repeats {asked.repeats} --healthy {asked.healthy} --seconds {asked.seconds:g}"
    )
    (RESULTS / "certificate.json").write_text(json.dumps({"command": command, "before": before, "after": after}) + "\n")
    (RESULTS / "certificate.md").write_text(report(command, before, after))


if __name__ == "__main__":
    main()
