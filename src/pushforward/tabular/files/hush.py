"""Silence for a library that writes to the standard error of the process before it raises."""

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Generator

_ONE = threading.RLock()
_STANDARD_ERROR = 2
_STEP, _AFTER_NONE, _AFTER_OUTPUT, _LONGEST = 0.01, 0.05, 0.3, 3.0  # seconds


@contextlib.contextmanager
def hushed() -> Generator[None]:
    """A context that keeps back what any thread writes to standard error; it is lost if the context raises.

    Threads of polars print a backtrace for each damaged part of a file, and then raise, which says it better. Where
    nothing is raised, all that was kept back is written after all. Other threads may still be at it when one has
    raised: the context ends when nothing more comes.

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
        raises = True
        try:
            yield
            raises = False
        finally:
            if raises:
                _settle(kept.fileno())
            os.dup2(outside, _STANDARD_ERROR)
        kept.seek(0)
        while content := kept.read(2**16):
            os.write(_STANDARD_ERROR, content)


def _settle(file: int) -> None:
    """Wait until a file does not grow any more: longer where somebody has written to it."""
    size, end = os.fstat(file).st_size, time.monotonic() + _LONGEST
    quiet = time.monotonic()
    while time.monotonic() < min(end, quiet + (_AFTER_OUTPUT if size else _AFTER_NONE)):
        time.sleep(_STEP)
        if (grown := os.fstat(file).st_size) > size:
            size, quiet = grown, time.monotonic()
