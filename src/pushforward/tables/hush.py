"""Silence for a library that writes to the standard error of the process before it raises."""

import contextlib
import os
import tempfile
import threading
from collections.abc import Generator

_ONE = threading.RLock()
_STANDARD_ERROR = 2


@contextlib.contextmanager
def hushed() -> Generator[None]:
    """A context that keeps back what any thread writes to standard error; it is lost if the context raises.

    Threads of polars print a backtrace for each damaged part of a file, and then raise, which says it better. Where
    nothing is raised, all that was kept back is written after all.

    >>> import sys
    >>> with contextlib.suppress(ValueError), hushed():
    ...     _ = os.write(2, b"lost")
    ...     raise ValueError
    """
    with _ONE, contextlib.ExitStack() as stack:
        try:
            kept = stack.enter_context(tempfile.TemporaryFile(buffering=0))
            outside = os.dup(_STANDARD_ERROR)
        except OSError:  # no standard error, or no place to keep anything
            yield
            return
        stack.callback(os.close, outside)
        os.dup2(kept.fileno(), _STANDARD_ERROR)
        try:
            yield
        finally:
            os.dup2(outside, _STANDARD_ERROR)
        kept.seek(0)
        while content := kept.read(2**16):
            os.write(_STANDARD_ERROR, content)
