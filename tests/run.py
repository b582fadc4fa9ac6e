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
NO_TESTS_COLLECTED = 5

BUDGET_MINUTES = {"battery": 6, "estimator checks": 2, "command line": 2, "lint and types": 1, "rest": 1}


@dataclass(frozen=True)
class Part:
    """One line of the table: commands that run one after another in separate processes, under one budget."""

    name: str
    budget: str
    commands: tuple[tuple[str, ...], ...]
    environment: dict[str, str] = field(default_factory=dict)
    fast_compilation: bool = True  # with the settings of `fast_compilation_settings`


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


AUTOREGRESSIVE = (
    "tests/bijections/test_autoregressive.py",
    "tests/bijections/test_causal_conv.py",
    "tests/recipes/test_recipes.py",
)
LAYERS = (
    "tests/bijections/test_laws.py",
    "tests/bijections/test_linear.py",
    "tests/bijections/test_planar_radial.py",
    "tests/bijections/test_spline.py",
)
IMAGES = (
    "tests/bijections/test_convolutional.py",
    "tests/recipes/test_images.py",
    "tests/numerics/test_recompute.py",
    "tests/bijections/test_residual.py",
)
TABLES = ("tests/diagnostics/test_check.py", "tests/tabular/test_columns.py", "tests/tabular/test_leaderboard.py")
ESTIMATOR = "tests/tabular/test_estimator.py"
BATTERY = "tests/test_battery.py"
ELSEWHERE = (BATTERY, "tests/cli", ESTIMATOR, *AUTOREGRESSIVE, *IMAGES, *LAYERS, *TABLES)

# Two thirds of the tests' time is compilation of programs that run once or twice. Without most optimisations and XLA's
# newer emitters of fused loops it takes a quarter of the time. Tests of equal bits or of rounding are marked: they run
# programs as users compile them.
EMITTERS = "--xla_cpu_use_fusion_emitters=false"
AS_COMPILED = "as_compiled"

# Parts start in this order, the longest first, as soon as a core is free.
# The battery in float32 and the marked tests run with normal compilation.
PARTS = (
    Part("rest", "rest", (pytest("tests", *(f"--ignore={path}" for path in ELSEWHERE)),)),
    Part("battery-float32", "battery", (pytest(BATTERY),), {"PUSHFORWARD_TEST_DTYPE": "float32"}, False),
    Part("command-line", "command line", (pytest("tests/cli"),)),
    Part(
        "battery-float64",
        "battery",
        (pytest(BATTERY),),
        {"PUSHFORWARD_TEST_DTYPE": "float64", "JAX_ENABLE_X64": "1"},
    ),
    Part("images", "rest", (pytest(*IMAGES),)),
    Part("autoregressive", "rest", (pytest(*AUTOREGRESSIVE),)),
    Part("tables", "rest", (pytest(*TABLES),)),
    Part("layers", "rest", (pytest(*LAYERS),)),
    Part("docstrings", "rest", (pytest("--doctest-modules", "src/pushforward"),)),
    Part("estimator", "estimator checks", (pytest(ESTIMATOR),)),
    Part(
        AS_COMPILED, "rest", (pytest("tests", f"--ignore={BATTERY}", "-m", f"{AS_COMPILED} and not slow"),), {}, False
    ),
    Part(
        "lint",
        "lint and types",
        (
            tool("ruff", "check", "."),
            tool("ruff", "format", "--check", "."),
            tool("ty", "check", "--python", sys.prefix),
        ),
    ),
)


def fast_compilation_settings() -> dict[str, str]:
    """Environment variables for fast compilation, without the flag of XLA if this release does not support it."""
    settings = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    flags = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {EMITTERS}".strip()}
    command = (sys.executable, "-c", "import jax; jax.devices()")
    is_known = subprocess.run(command, env={**os.environ, **flags}, capture_output=True, check=False).returncode == 0
    return {**settings, **flags} if is_known else settings


def slow_parts(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts with `-m slow` instead of `-m "not slow"` and normal compilation, since slow tests mostly compute.

    Docstrings and lint have no slow tests, and those of the marked tests are in the other parts.
    """
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
            env={**os.environ, **part.environment, **(settings if part.fast_compilation else {})},
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
    """The table of parts with their times, and of budgets with the time used."""
    lines = [f"{'part':<18}{'result':<8}{'passed':>7}{'failed':>7}{'seconds':>9}"]
    for outcome in outcomes:
        result = "ok" if outcome.ok else "FAILED"
        seconds = outcome.end - outcome.start
        lines.append(f"{outcome.part.name:<18}{result:<8}{outcome.passed:>7}{outcome.failed:>7}{seconds:>9.1f}")
    if slow:
        return "\n".join(lines)
    lines += ["", f"{'budget':<33}{'minutes':>9}{'allowed':>9}"]
    for name, allowed in BUDGET_MINUTES.items():
        group = [outcome for outcome in outcomes if outcome.part.budget == name]
        if not group:
            continue
        if name == "battery":  # both halves run at the same time, one per core
            seconds = max(outcome.end - outcome.start for outcome in group)
        else:
            seconds = sum(outcome.end - outcome.start for outcome in group)
        lines.append(f"{name:<33}{seconds / 60:>9.1f}{allowed:>9}{'   over' if seconds > 60 * allowed else ''}")
    seconds, allowed = max(outcome.end for outcome in outcomes), sum(BUDGET_MINUTES.values())
    lines.append(f"{'all':<33}{seconds / 60:>9.1f}{allowed:>9}{'   over' if seconds > 60 * allowed else ''}")
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

    parts = tuple(part for part in PARTS if not options.parts or part.name in options.parts)
    parts = slow_parts(parts) if options.slow else parts
    if not parts:
        parser.error(f"{', '.join(options.parts)} has no tests marked slow")
    clock, printing = time.monotonic(), threading.Lock()
    settings = fast_compilation_settings() if any(part.fast_compilation for part in parts) else {}
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
