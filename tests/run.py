"""Run every part of the tests, two at a time, and print what each took beside its budget.

    python tests/run.py                  all parts: what `make test` runs
    python tests/run.py lint rest        only the named parts
    python tests/run.py --slow           the tests marked slow, without a budget

Times are printed, never judged: a busy machine must not turn a right program red. The exit code is 1 if a part fails.
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
    in_haste: bool = True  # compiled in haste, as `hasty` says


@dataclass(frozen=True)
class Outcome:
    """What a part took, and what its test runner counted."""

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
ELSEWHERE = (BATTERY, "tests/cli", *LAYERS, *TABLES)

# Programs of tests run once or twice, and two thirds of the tests' time goes into compiling them. Without most
# optimisations and without XLA's newer emitters of fused loops it takes a quarter of the time. Not for tests of equal
# bits or of rounding, which hold for programs as users compile them: those are marked, and the battery in float32 is.
EMITTERS = "--xla_cpu_use_fusion_emitters=false"
AS_COMPILED = "as_compiled"

# The order is the order of starting, the longest first: whatever core is free takes the next.
PARTS = (
    Part("rest", 5, (pytest("tests", *(f"--ignore={path}" for path in ELSEWHERE)),)),
    Part("layers", 5, (pytest(*LAYERS),)),
    Part(AS_COMPILED, 4, (pytest("tests", "-m", f"{AS_COMPILED} and not slow"),), in_haste=False),
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


def hasty() -> dict[str, str]:
    """What makes JAX compile in haste; without the flag of XLA where this release does not know it."""
    settings = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    flags = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {EMITTERS}".strip()}
    probe = (sys.executable, "-c", "import jax; jax.devices()")
    is_known = subprocess.run(probe, env={**os.environ, **flags}, capture_output=True, check=False).returncode == 0
    return {**settings, **flags} if is_known else settings


def slow_parts() -> tuple[Part, ...]:
    """The same parts with `-m slow`, compiled as users do: here computing takes longer.

    Docstrings and lint have no slow half. Of the tests that are marked as compiled the battery in float32 is left, the
    others are in the parts of their folders.
    """
    parts = (*PARTS, Part("battery-float32", 0, (pytest(BATTERY),)))
    return tuple(
        replace(part, commands=tuple((*command, "-m", "slow") for command in part.commands), in_haste=False)
        for part in parts
        if part.name not in ("lint", "docstrings", AS_COMPILED)
    )


def counted(output: str, word: str) -> int:
    """The number that pytest's closing lines give for a word such as 'passed'."""
    closing = [line for line in output.splitlines() if re.search(r"\bin \d+\.\d+s\b", line)]
    return sum(int(number) for line in closing for number in re.findall(rf"\b(\d+) {word}\b", line))


def run(part: Part, clock: float, slow: bool, haste: dict[str, str], printing: threading.Lock) -> Outcome:
    """Run one part to its end, then print all it said in one piece."""
    start = time.monotonic() - clock
    with printing:
        print(f"[{start:5.0f} s] {part.name} ...", flush=True)
    said, codes = [], []
    for command in part.commands:
        finished = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **part.environment, **(haste if part.in_haste else {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        said.append(finished.stdout)
        codes.append(0 if slow and finished.returncode == NO_TESTS_COLLECTED else finished.returncode)
    output, end = "".join(said), time.monotonic() - clock
    ok = not any(codes)
    with printing:
        print(f"\n===== {part.name}: {'passed' if ok else 'FAILED'} =====\n{output.rstrip()}\n", flush=True)
    errors = counted(output, "errors?")
    return Outcome(part, ok, start, end, counted(output, "passed"), counted(output, "failed") + errors)


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
    haste = hasty() if any(part.in_haste for part in parts) else {}
    with ThreadPoolExecutor(max_workers=2) as cores:
        outcomes = list(cores.map(lambda part: run(part, clock, options.slow, haste, printing), parts))

    print(table(outcomes, options.slow))
    passed, failed = sum(done.passed for done in outcomes), sum(done.failed for done in outcomes)
    broken = [done.part.name for done in outcomes if not done.ok]
    if broken:
        print(f"\nfailed: {', '.join(broken)}")
    if passed or failed:
        print(f"\n{passed} passed, {failed} failed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
