"""Arrays of other libraries, such as PyTorch, by DLPack: the protocol by which libraries exchange memory."""

from typing import Any

import jax
import numpy as np

from pushforward.errors import DataError

# what an export can fail with: no export, an unknown dtype or device, a tensor with a gradient
_FAILURES = (BufferError, RuntimeError, TypeError, ValueError, AttributeError)


def has_dlpack(value: Any) -> bool:
    """Whether a value is an array of another library than NumPy and JAX that exports its memory."""
    return hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray | jax.Array)


def from_dlpack(value: Any, name: str = "values") -> np.ndarray:
    """A NumPy array of a value with DLPack, without a copy if NumPy can read its memory and dtype.

    JAX reads what NumPy does not know, bfloat16 and memory of an accelerator that JAX uses too, and copies it.

    Args:
        value: an object with `__dlpack__` and `__dlpack_device__`.
        name: name of the argument for the error message.

    Raises:
        DataError: if neither library can read it.

    >>> print(from_dlpack(np.arange(3.0)))
    [0. 1. 2.]
    """
    try:
        return np.from_dlpack(value)
    except _FAILURES as error:
        reason = error
    try:
        return np.asarray(jax.dlpack.from_dlpack(value))
    except _FAILURES:
        raise DataError(
            f"expected an array whose memory DLPack can pass on, got a {type(value).__name__} that cannot be read "
            f"({reason}). Convert it to a NumPy array first; for a tensor of PyTorch x.detach().cpu().numpy().",
            name,
        ) from None
