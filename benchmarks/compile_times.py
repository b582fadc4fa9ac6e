"""Compilation: the first call of every recipe at its default size, in fresh processes; and that none comes later."""

from driver import Worker, WorkerError, not_installed, rotated, say, spread
from workloads import COMPILE_BAR, RECIPE_DIMS, RECIPES

BATCH = 512
ROW_COUNTS = (1_000, 1_001)


def run(failed: dict[str, str], rounds: int, recipes: tuple[str, ...] = RECIPES) -> dict:
    """Seconds of construction, first and later calls of each recipe; programs compiled for another row count."""
    failures = not_installed(failed)
    jobs = [f"{name}:{dim}" for dim in RECIPE_DIMS for name in recipes]
    answers: dict[str, list[dict]] = {job: [] for job in jobs}
    for turn in range(rounds):
        for job in rotated(jobs, turn):
            name, dim = job.split(":")
            say(f"compile: round {turn + 1}, {name}, D = {dim}")
            try:
                with Worker("ours") as worker:
                    answers[job].append(worker.ask("recipe", name=name, dim=int(dim), batch=BATCH))
            except WorkerError as error:
                failures.append({"library": "pushforward", "where": f"{name}, D = {dim}", "reason": str(error)})
    rows = [_row(job, got) for job, got in answers.items() if got]
    return {"rounds": rounds, "batch": BATCH, "rows": rows, "row_counts": _row_counts(failures), "failures": failures}


def _row(job: str, answers: list[dict]) -> dict:
    name, dim = job.split(":")
    row: dict = {"recipe": name, "dim": int(dim), "construct": spread([answer["construct"] for answer in answers])}
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
