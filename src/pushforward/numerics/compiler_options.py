"""Options of XLA for programs of images on a CPU: half the compilation, at the same speed.

Such a program spends its time in matrix products, which no option changes, and has hundreds of small kernels that move
pixels: 350 in a step of `glow`, 830 in one of `real_nvp_image`. Programs of vectors are compiled without options: those
of splines and masked networks took 1.1 to 1.5 times as long with them.
"""

import functools
import os
from typing import Any

import jax

from pushforward.numerics.arrays import arrays_are_traced

_OPTIONS = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}


def compiler_options(*shapes: tuple[int, ...] | None) -> dict[str, Any]:
    """The options for a program about samples and contexts of these shapes, for `jax.jit(compiler_options=)`.

    Empty unless one is that of an image, (H, W, C). An option in the variable `XLA_FLAGS` is left to it. Empty inside a
    caller's `jax.jit` too: JAX refuses options in a `jax.jit` within another.

    Example:
        >>> compiler_options((7,), None)
        {}
    """
    is_image = any(shape is not None and len(shape) > 2 for shape in shapes)
    if not is_image or jax.default_backend() != "cpu" or arrays_are_traced():
        return {}
    if jax.config.read("jax_disable_most_optimizations"):
        return {}
    set_by_user = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in _OPTIONS.items() if name not in set_by_user and _is_known(name, value)}


@functools.cache
def _is_known(name: str, value: Any) -> bool:
    """Whether this version of XLA has the option; its older emitters may be removed."""
    try:
        jax.jit(lambda x: x, compiler_options={name: value}).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
