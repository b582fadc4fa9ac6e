"""Strict mode for every test: types and shapes of the package are checked as it runs, rank promotion raises."""

import gc
import os

from jaxtyping import install_import_hook

# Must run before the first import of the package, whose annotated functions and modules are checked from here on.
install_import_hook("pushforward", "strict.typechecked")

gc.set_threshold(100_000, 50, 50)  # tracing makes many objects: the collector took 7 % of the time at its defaults

os.environ["PUSHFORWARD_CACHE"] = "off"  # tests must not write to the user's cache folder

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

DTYPE = os.environ.get("PUSHFORWARD_TEST_DTYPE", "float32")
if DTYPE not in ("float32", "float64") or (DTYPE == "float64") != jax.config.jax_enable_x64:
    raise pytest.UsageError(
        f"PUSHFORWARD_TEST_DTYPE={DTYPE}, JAX_ENABLE_X64={int(jax.config.jax_enable_x64)}: float32 runs with x64 off, "
        "float64 with JAX_ENABLE_X64=1."
    )


def pytest_terminal_summary(terminalreporter):
    import battery

    lines = battery.table()
    if lines:
        terminalreporter.section(f"battery in {DTYPE}")
        for line in lines:
            terminalreporter.write_line(line)
