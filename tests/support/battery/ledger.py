"""Results and times of the battery: filled by every check, printed once at the end of a run."""

from collections import defaultdict

SECONDS: dict[str, float] = defaultdict(float)
RESULTS: dict[str, dict[str, str]] = defaultdict(dict)


def table() -> list[str]:
    """Lines of a table: for each row the numbers of passed and failed properties; the slowest rows."""
    if not RESULTS:
        return []
    lines = [f"{'row':<40}{'passed':>6}{'failed':>8}{'seconds':>9}"]
    for name, results in RESULTS.items():
        failed = [prop for prop, result in results.items() if result != "ok"]
        n_passed = len(results) - len(failed)
        lines.append(f"{name:<40}{n_passed:>6}{len(failed):>8}{SECONDS[name]:>9.1f}  {', '.join(failed)}".rstrip())
    slowest = sorted(SECONDS, key=SECONDS.get, reverse=True)[:5]
    lines.append(f"{len(RESULTS)} rows, {sum(SECONDS.values()):.0f} s; slowest: " + ", ".join(slowest))
    return lines
