"""Compilation in a hurry, for tests whose time is that of XLA's optimisations."""

import contextlib

import jax


@contextlib.contextmanager
def quickly_compiled():
    """Most optimisations are off inside: the same numbers to rounding, in a third of the time."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
