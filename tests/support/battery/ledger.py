"""What was found, and what it took: filled by every check, printed once at the end of a run."""

from collections import defaultdict

SECONDS: dict[str, float] = defaultdict(float)
RESULTS: dict[str, dict[str, str]] = defaultdict(dict)


def table() -> list[str]:
    """Rows with the number of properties that hold and fail, and the rows that took longest."""
    if not RESULTS:
        return []
    lines = [f"{'row':<40}{'held':>6}{'failed':>8}{'seconds':>9}"]
    for name, outcome in RESULTS.items():
        failed = [prop for prop, said in outcome.items() if said != "ok"]
        held = len(outcome) - len(failed)
        lines.append(f"{name:<40}{held:>6}{len(failed):>8}{SECONDS[name]:>9.1f}  {', '.join(failed)}".rstrip())
    slowest = sorted(SECONDS, key=SECONDS.get, reverse=True)[:5]
    lines.append(f"{len(RESULTS)} rows, {sum(SECONDS.values()):.0f} s; slowest: " + ", ".join(slowest))
    return lines
