"""Buffered standard error, for a library that writes to it before it raises."""

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Generator

_LOCK = threading.RLock()
_STANDARD_ERROR = 2
_STEP, _QUIET, _QUIET_AFTER_OUTPUT, _LONGEST = 0.01, 0.05, 0.3, 3.0  # seconds


@contextlib.contextmanager
def buffered_stderr() -> Generator[None]:
    """A context that buffers the standard error of all threads, and discards the buffer if the context raises.

    Threads of polars print a backtrace for each damaged part of a file before they raise; the exception alone is
    enough. Without an exception the buffer is written at the end. After an exception other threads may still write:
    the context then waits until no more output comes.

    >>> import sys
    >>> with contextlib.suppress(ValueError), buffered_stderr():
    ...     _ = os.write(2, b"lost")
    ...     raise ValueError
    """
    with _LOCK, contextlib.ExitStack() as stack:
        try:
            buffer = stack.enter_context(tempfile.TemporaryFile(buffering=0))
            original = os.dup(_STANDARD_ERROR)
        except OSError:  # no standard error, or no temporary folder
            yield
            return
        stack.callback(os.close, original)
        os.dup2(buffer.fileno(), _STANDARD_ERROR)
        raises = True
        try:
            yield
            raises = False
        finally:
            if raises:
                _wait_until_quiet(buffer.fileno())
            os.dup2(original, _STANDARD_ERROR)
        buffer.seek(0)
        while content := buffer.read(2**16):
            os.write(_STANDARD_ERROR, content)


def _wait_until_quiet(file: int) -> None:
    """Wait until a file stops growing; wait longer if it has content."""
    size, end = os.fstat(file).st_size, time.monotonic() + _LONGEST
    last_growth = time.monotonic()
    while time.monotonic() < min(end, last_growth + (_QUIET_AFTER_OUTPUT if size else _QUIET)):
        time.sleep(_STEP)
        if (grown := os.fstat(file).st_size) > size:
            size, last_growth = grown, time.monotonic()
