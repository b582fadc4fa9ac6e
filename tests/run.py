"""Run all parts of the tests, two at a time, and print the time of each with its budget.

    python tests/run.py                  all parts: what `make test` runs
    python tests/run.py lint rest        only the named parts
    python tests/run.py --slow           the tests marked slow, without a budget

Times are printed but never fail a test, because they depend on the load of the machine. The exit code is 1 if a part
fails.
"""

import argparse
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import fast_compilation  # noqa: E402 (of the tools, which are no package)

NO_TESTS_COLLECTED = 5

BUDGET_MINUTES = 12  # in all, on two slow cores


@dataclass(frozen=True)
class Part:
    """One line of the table: commands that run one after another in processes of their own.

    Attributes:
        minutes: what it may take on one slow core.
    """

    name: str
    minutes: float
    commands: tuple[tuple[str, ...], ...]
    environment: dict[str, str] = field(default_factory=dict)
    fast_compilation: bool = True  # with the settings of tools/fast_compilation.py


@dataclass(frozen=True)
class Outcome:
    """The times of a part, and the numbers of passed and failed tests."""

    part: Part
    ok: bool
    start: float
    end: float
    passed: int
    failed: int


def pytest(*arguments: str) -> tuple[str, ...]:
    unmarked = () if "-m" in arguments else ("-m", f"not slow and not {AS_COMPILED}")
    return (sys.executable, "-m", "pytest", "--quiet", "--durations=10", *unmarked, *arguments)


def tool(name: str, *arguments: str) -> tuple[str, ...]:
    return (str(Path(sys.executable).parent / name), *arguments)


BATTERY = "tests/test_battery.py"
LAYERS = ("tests/numerics", "tests/networks", "tests/bijections", "tests/bases", "tests/recipes")
TABLES = ("tests/tabular", "tests/diagnostics", "tests/reporting")
# The files with tests marked `as_compiled`; a test of tests/test_guards.py finds others.
MARKED = ("tests/core/test_boundary.py", "tests/numerics/test_recompute.py", "tests/bijections/test_transformers.py")
ELSEWHERE = (BATTERY, "tests/cli", *LAYERS, *TABLES)

# Most tests use programs that are compiled fast. Not those of equal bits or of rounding, which hold for programs as
# users compile them: those are marked, and the battery in float32 is.
AS_COMPILED = "as_compiled"

# The order is the order of starting, the longest first: whatever core is free takes the next.
PARTS = (
    Part("rest", 5, (pytest("tests", *(f"--ignore={path}" for path in ELSEWHERE)),)),
    Part("layers", 5, (pytest(*LAYERS),)),
    Part(AS_COMPILED, 4, (pytest(BATTERY, *MARKED, "-m", f"{AS_COMPILED} and not slow"),), fast_compilation=False),
    Part("tables", 4, (pytest(*TABLES),)),
    Part("command-line", 3, (pytest("tests/cli"),)),
    Part("battery-float64", 2, (pytest(BATTERY),), {"PUSHFORWARD_TEST_DTYPE": "float64", "JAX_ENABLE_X64": "1"}),
    Part("docstrings", 1, (pytest("--doctest-modules", "src/pushforward"),)),
    Part(
        "lint",
        0.1,
        (
            tool("ruff", "check", "."),
            tool("ruff", "format", "--check", "."),
            tool("ty", "check", "--python", sys.prefix),
        ),
    ),
)


def slow_parts() -> tuple[Part, ...]:
    """The same parts with `-m slow`, compiled as users do: here computing takes longer.

    Docstrings and lint have no slow half. Of the tests that are marked as compiled the battery in float32 is left, the
    others are in the parts of their folders.
    """
    parts = (*PARTS, Part("battery-float32", 0, (pytest(BATTERY),)))
    return tuple(
        replace(part, commands=tuple((*command, "-m", "slow") for command in part.commands), fast_compilation=False)
        for part in parts
        if part.name not in ("lint", "docstrings", AS_COMPILED)
    )


def count_of(output: str, word: str) -> int:
    """The count in pytest's summary lines for a word such as 'passed'."""
    closing = [line for line in output.splitlines() if re.search(r"\bin \d+\.\d+s\b", line)]
    return sum(int(number) for line in closing for number in re.findall(rf"\b(\d+) {word}\b", line))


def run(part: Part, clock: float, slow: bool, settings: dict[str, str], printing: threading.Lock) -> Outcome:
    """Runs one part, then prints its whole output at once."""
    start = time.monotonic() - clock
    with printing:
        print(f"[{start:5.0f} s] {part.name} ...", flush=True)
    outputs, codes = [], []
    for command in part.commands:
        process = subprocess.run(
            command,
            cwd=ROOT,
            env={
                **os.environ,
                **fast_compilation.LOCATIONS,
                **part.environment,
                **(settings if part.fast_compilation else {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        outputs.append(process.stdout)
        codes.append(0 if slow and process.returncode == NO_TESTS_COLLECTED else process.returncode)
    output, end = "".join(outputs), time.monotonic() - clock
    ok = not any(codes)
    with printing:
        print(f"\n===== {part.name}: {'passed' if ok else 'FAILED'} =====\n{output.rstrip()}\n", flush=True)
    errors = count_of(output, "errors?")
    return Outcome(part, ok, start, end, count_of(output, "passed"), count_of(output, "failed") + errors)


def table(outcomes: list[Outcome], slow: bool) -> str:
    """Parts with their time beside their budget, and the whole."""
    lines = [f"{'part':<18}{'result':<8}{'passed':>7}{'failed':>7}{'minutes':>9}{'allowed':>9}"]

    def line(start: str, minutes: float, allowed: float) -> str:
        return f"{start}{minutes:>9.1f}" + ("" if slow else f"{allowed:>9}{'   over' if minutes > allowed else ''}")

    for done in outcomes:
        start = f"{done.part.name:<18}{'ok' if done.ok else 'FAILED':<8}{done.passed:>7}{done.failed:>7}"
        lines.append(line(start, (done.end - done.start) / 60, done.part.minutes))
    lines.append(line(f"{'whole':<40}", max(done.end for done in outcomes) / 60, BUDGET_MINUTES))
    return "\n".join(lines)


def main() -> int:
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(description="Run the tests part by part and print their times.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"some of: {' '.join(names)} (default: all)")
    parser.add_argument("--slow", action="store_true", help="run the tests marked slow instead")
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(names))
    if unknown:
        parser.error(f"unknown part {', '.join(unknown)}: expected some of {', '.join(names)}")

    parts = slow_parts() if options.slow else PARTS
    parts = tuple(part for part in parts if not options.parts or part.name in options.parts)
    if not parts:
        parser.error(f"{', '.join(options.parts)} has no tests marked slow")
    clock, printing = time.monotonic(), threading.Lock()
    settings = fast_compilation.settings() if any(part.fast_compilation for part in parts) else {}
    with ThreadPoolExecutor(max_workers=2) as cores:
        outcomes = list(cores.map(lambda part: run(part, clock, options.slow, settings, printing), parts))

    print(table(outcomes, options.slow))
    passed, failed = sum(outcome.passed for outcome in outcomes), sum(outcome.failed for outcome in outcomes)
    failed_parts = [outcome.part.name for outcome in outcomes if not outcome.ok]
    if failed_parts:
        print(f"\nfailed: {', '.join(failed_parts)}")
    if passed or failed:
        print(f"\n{passed} passed, {failed} failed")
    return 1 if failed_parts else 0


if __name__ == "__main__":
    sys.exit(main())
