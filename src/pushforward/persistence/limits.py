"""Limits of the integers in a module's static fields, such as numbers of loop steps and sizes of arrays.

Tracing the flow compares most of them with the shapes of arrays, which the length of the file bounds. But the time and
memory of tracing grow with them, so they are limited before.
"""

import math
from typing import Any

import jax

from pushforward.persistence.container import damaged

# by the names of fields, which mean the same in all modules
LIMITS = {
    # numbers of loop steps, terms and copies, which have no array of that size in the file
    "n_layers": 10_000, "n_members": 10_000, "unroll": 256, "depth": 1_000, "cycle": 1_000,
    "n_terms": 10_000, "n_exact": 10_000,
    "n_probes": 10_000, "n_points": 256, "n_draws": 100_000, "max_iterations": 1 << 20,
    # sides of kernels, blocks and rotations
    "kernel_size": 255, "factor": 1_024, "rotation": 3,
    # sizes of arrays in the file
    "n_ranks": 1 << 24, "n_heads": 1 << 24, "token_size": 1 << 24, "n_features": 1 << 24, "context_size": 1 << 24,
    "context_channels": 1 << 24, "n_channels": 1 << 24, "n_transformed": 1 << 24,
    # used in arithmetic only
    "levels": 1 << 32, "rate": 1_000.0,
}  # fmt: skip
MAX_EVENT = 1 << 26  # numbers in an event or a context
MAX_POINTS = 1 << 25  # numbers in all samples, or probes, of one event
_LARGEST_SIZE = 1 << 24  # in modules of Equinox
_COPIES = ("n_draws", "n_probes")


def check_array_sizes(values: dict[str, Any], path: str) -> None:
    """Raise an error for whole numbers in the fields of an Equinox module that are no sizes of arrays.

    Args:
        values: of the fields, by name.
        path: of the module, for the message.

    Raises:
        ModelFileError: naming the field.
    """
    for name, value in values.items():
        for item in jax.tree.leaves(value) if isinstance(value, tuple) else [value]:
            if isinstance(item, int) and abs(item) > _LARGEST_SIZE:
                raise damaged(f"{path}{name} is {item:,}, expected a size of at most {_LARGEST_SIZE:,}")


def check_limits(values: dict[str, Any], path: str, event_size: int) -> None:
    """Raise an error for static fields of a module of the library that exceed the limits.

    Args:
        values: of the fields, by name.
        path: of the module, for the message.
        event_size: numbers in an event of the whole flow.

    Raises:
        ModelFileError: naming the field.
    """
    for name, value in values.items():
        if name in LIMITS and isinstance(value, int | float):
            limit = min(LIMITS[name], MAX_POINTS // max(event_size, 1)) if name in _COPIES else LIMITS[name]
            if not 0 <= value <= limit:
                raise damaged(f"{path}{name} is {value:,}, expected a number from 0 to {limit:,}")
        if name in ("shape", "context_shape") and isinstance(value, tuple):
            if any(size < 0 for size in value) or math.prod(value) > MAX_EVENT:
                raise damaged(f"{path}{name} is {value}, expected sizes of at most {MAX_EVENT:,} numbers in all")
