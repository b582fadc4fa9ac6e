"""Handles SIGTERM and SIGHUP like Ctrl-C: temporary files are removed, and one line reports the interruption."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Generator
from types import FrameType
from typing import Any

_RESEND_DELAY = 0.05  # seconds until a dropped interrupt is raised again
_TERMINATING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextlib.contextmanager
def as_interrupts() -> Generator[None]:
    """Context in which SIGTERM and SIGHUP interrupt as Ctrl-C does, and no interruption is lost.

    A signal that is ignored (SIGHUP under nohup) stays ignored; one that has a handler keeps it.
    """
    handled = []
    if threading.current_thread() is threading.main_thread():  # only the main thread may set handlers
        handled = [number for number in _TERMINATING if signal.getsignal(number) is signal.SIG_DFL]
    with _forward(handled) if handled else contextlib.nullcontext(), _resend_dropped():
        yield


@contextlib.contextmanager
def _forward(handled: list[signal.Signals]) -> Generator[None]:
    """Send SIGINT for each of these signals, from a thread: polars may block the main thread, but reacts to SIGINT."""

    def forward() -> None:
        while received := os.read(reading, 64):
            if set(received).intersection(handled):
                signal.pthread_kill(main, signal.SIGINT)

    main, (reading, writing) = threading.main_thread().ident or 0, os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=forward, daemon=True)
    watcher.start()
    for number in handled:
        signal.signal(number, _end_where_interrupts_are_ignored)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(before)
        os.close(writing)
        watcher.join()
        os.close(reading)


def _end_where_interrupts_are_ignored(number: int, frame: FrameType | None) -> None:
    """Raise here if SIGINT is ignored, as in the background of a shell; otherwise the thread sends SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _resend_dropped() -> Generator[None]:
    """Resend an interrupt that arrived where Python drops exceptions, such as in a callback of the compiler."""
    before, resent = sys.unraisablehook, signal.SIGINT
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        resent = signal.SIGTERM

    def hook(dropped: Any) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            # later, since an exception is dropped here too; and as a signal, which wakes blocking calls
            main = threading.main_thread().ident or 0
            threading.Timer(_RESEND_DELAY, signal.pthread_kill, (main, resent)).start()
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
