"""Compilation: the first call of every recipe at its default size, in fresh processes; and that none comes later."""

from driver import Worker, WorkerError, not_installed, rotated, say, spread
from workloads import COMPILE_BAR, COMPILED

ROW_COUNTS = (1_000, 1_001)


def run(failed: dict[str, str], rounds: int, jobs: tuple[tuple[str, tuple[int, ...], int], ...] = COMPILED) -> dict:
    """Seconds of construction, first and later calls of each recipe; programs compiled for another row count."""
    failures = not_installed(failed)
    answers: dict[tuple, list[dict]] = {job: [] for job in jobs}
    for turn in range(rounds):
        for job in rotated(list(jobs), turn):
            name, shape, batch = job
            where = f"{name}, {' x '.join(map(str, shape))}"
            say(f"compile: round {turn + 1}, {where}")
            try:
                with Worker("ours") as worker:
                    answers[job].append(worker.ask("recipe", name=name, shape=shape, batch=batch))
            except WorkerError as error:
                failures.append({"library": "pushforward", "where": where, "reason": str(error)})
    rows = [_row(*job, got) for job, got in answers.items() if got]
    return {"rounds": rounds, "rows": rows, "row_counts": _row_counts(failures), "failures": failures}


def _row(name: str, shape: tuple[int, ...], batch: int, answers: list[dict]) -> dict:
    row: dict = {"recipe": name, "shape": shape, "batch": batch}
    row["construct"] = spread([answer["construct"] for answer in answers])
    for operation in answers[0]["first"]:
        row[operation] = {
            "first": spread([answer["first"][operation] for answer in answers]),
            "later": spread([answer["later"][operation] for answer in answers]),
        }
    row["slowest_first"] = max(row[operation]["first"]["median"] for operation in answers[0]["first"])
    row["bar"], row["reach"] = COMPILE_BAR
    return row


def _row_counts(failures: list[dict]) -> dict | None:
    """Programs compiled while scoring 1,000 rows, and then 1,001: the second must be none, the first shows we count."""
    try:
        with Worker("ours") as worker:
            counts = worker.ask("rows", first=ROW_COUNTS[0], second=ROW_COUNTS[1])
    except WorkerError as error:
        failures.append({"library": "pushforward", "where": "row counts", "reason": str(error)})
        return None
    first, second = (counts[str(n)] for n in ROW_COUNTS)
    return {"programs": counts, "ok": first > 0 and second == 0}
