"""Signals that end a program, all answered as Ctrl-C is: what was begun is cleaned up, and one sentence says so."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Generator
from types import FrameType
from typing import Any

_AGAIN = 0.05  # seconds after which a dropped interrupt comes again
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextlib.contextmanager
def as_interrupts() -> Generator[None]:
    """A context in which SIGTERM and SIGHUP interrupt as Ctrl-C does, and no interruption is lost.

    A signal that is ignored, as SIGHUP is under nohup, stays so; one that has a handler keeps it.
    """
    ours = []
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        ours = [sign for sign in _ENDING if signal.getsignal(sign) is signal.SIG_DFL]
    with _passed_on(ours) if ours else contextlib.nullcontext(), _none_lost():
        yield


@contextlib.contextmanager
def _passed_on(ours: list[signal.Signals]) -> Generator[None]:
    """Send a SIGINT for each of these signals, from a thread: polars, which may keep the main one, listens to that."""

    def pass_on() -> None:
        while numbers := os.read(reading, 64):
            if set(numbers).intersection(ours):
                signal.pthread_kill(main, signal.SIGINT)

    main, (reading, writing) = threading.main_thread().ident or 0, os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=pass_on, daemon=True)
    watcher.start()
    for sign in ours:
        signal.signal(sign, _end_where_interrupts_are_ignored)
    try:
        yield
    finally:
        for sign in ours:
            signal.signal(sign, signal.SIG_DFL)
        signal.set_wakeup_fd(before)
        os.close(writing)
        watcher.join()
        os.close(reading)


def _end_where_interrupts_are_ignored(number: int, frame: FrameType | None) -> None:
    """In a shell's background, for instance; elsewhere a SIGINT follows."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _none_lost() -> Generator[None]:
    """Raise an interrupt again that arrived where Python drops what is raised, such as a callback of the compiler."""
    before, again = sys.unraisablehook, signal.SIGINT
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        again = signal.SIGTERM

    def hook(dropped: Any) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            # later, for in here it would be dropped, too; and as a signal, which wakes what waits
            main = threading.main_thread().ident or 0
            threading.Timer(_AGAIN, signal.pthread_kill, (main, again)).start()
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
