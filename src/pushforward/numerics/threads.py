"""Functions that run in other threads as they would in this one: settings of JAX in a `with` block are thread-local."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import jax

# the settings on which numbers, programs or errors depend
_SETTINGS = (
    jax.enable_x64,
    jax.default_device,
    jax.default_matmul_precision,
    jax.default_prng_impl,
    jax.threefry_partitionable,
    jax.numpy_rank_promotion,
    jax.numpy_dtype_promotion,
    jax.debug_nans,
    jax.debug_infs,
)


def with_jax_settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which runs in another thread with the settings of JAX that this thread has now.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> def precision():
    ...     return jax.default_matmul_precision.value
    >>> with ThreadPoolExecutor(1) as executor, jax.default_matmul_precision("float32"):
    ...     (executor.submit(precision).result(), executor.submit(with_jax_settings(precision)).result())
    (None, 'float32')
    """
    values = [setting.value for setting in _SETTINGS]

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        with contextlib.ExitStack() as stack:
            for setting, value in zip(_SETTINGS, values, strict=True):
                stack.enter_context(setting(value))
            return function(*arguments)

    return run
