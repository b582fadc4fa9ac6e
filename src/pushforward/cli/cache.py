"""Compiled programs kept in the user's own folder, so that the same command on the same model starts at once.

JAX finds a kept program by a key of the program, its compiler and its options; a kept program gives the same bits as a
new one. Nothing here imports JAX: it reads its settings from the environment when a command imports it.
"""

import contextlib
import functools
import hashlib
import os
import platform
import stat
import sys
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

SWITCH = "PUSHFORWARD_CACHE"
_OFF = ("off", "0", "no", "false")
_LIMIT = 256 * 2**20
# Whoever has set these has decided already.
_OF_JAX = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")


@contextlib.contextmanager
def programs_kept(limit: int = _LIMIT) -> Generator[None]:
    """A context in which a JAX that is imported keeps its compiled programs.

    It is off where the environment variable PUSHFORWARD_CACHE is "off", and where a variable of JAX already speaks of
    its cache. A folder that cannot be used, and a kept program that cannot be read, cost one note and no more.

    Args:
        limit: bytes; above it the programs that were not used for longest are removed.
    """
    if os.environ.get(SWITCH, "").lower() in _OFF or any(name in os.environ for name in _OF_JAX):
        yield
        return
    try:
        folder = private_folder(cache_folder()) / _machine()
        folder.mkdir(exist_ok=True)
        _remove_oldest(folder, limit)
    except (OSError, RuntimeError) as fault:  # the latter: there is no home
        _note(f"compiled programs are not kept ({fault}): make that folder your own, or set {SWITCH}=off.")
        yield
        return
    # All of them, however soon they were compiled: a busy machine must not decide what is kept.
    settings = {"JAX_COMPILATION_CACHE_DIR": f"{folder}", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        with _one_note(folder):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def keeping_programs(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same command, within `programs_kept`; its help, which runs no program, stays outside."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        with programs_kept():
            return command(*arguments, **options)

    return wrapped


def cache_folder() -> Path:
    """Where this platform's programs keep what can be made again: `pushforward` in the user's folder of caches."""
    stated = os.environ.get("XDG_CACHE_HOME", "")
    if Path(stated).is_absolute():
        return Path(stated, "pushforward")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "pushforward"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home()), "pushforward", "cache")
    return Path.home() / ".cache" / "pushforward"


def private_folder(folder: Path) -> Path:
    """Make the folder where it is missing, and let nobody else in: what lies there is run.

    Raises:
        OSError: it cannot be made or written to, or it is somebody else's.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{folder} is a link")
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written to")
    return folder


def _machine() -> str:
    """A name for the kind of processor: a home may be shared by machines that do not know each other's instructions."""
    kind = platform.machine() + platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        kind += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return "programs-" + hashlib.sha256(kind.encode()).hexdigest()[:12]


def _remove_oldest(folder: Path, limit: int) -> None:
    """Remove what was not read for longest, until the rest is within the limit."""
    found = [(max(entry.stat().st_atime, entry.stat().st_mtime), entry) for entry in os.scandir(folder)]
    total = sum(entry.stat().st_size for _, entry in found)
    for _, entry in sorted(found, key=lambda one: one[0]):
        if total <= limit:
            return
        total -= entry.stat().st_size
        Path(entry.path).unlink(missing_ok=True)


@contextlib.contextmanager
def _one_note(folder: Path) -> Generator[None]:
    """One sentence for all that JAX says of its cache; after it the kept programs go, for one of them is damaged."""
    shown, told = warnings.showwarning, []

    def show(message: Warning | str, category: type[Warning], *place: object) -> None:
        if "persistent compilation cache" not in str(message):
            shown(message, category, *place)  # ty: ignore[invalid-argument-type]
        elif not told:
            told.append(message)
            _note("a compiled program could not be kept or read again; those that were kept are removed.")

    warnings.showwarning = show  # ty: ignore[invalid-assignment]
    try:
        yield
    finally:
        warnings.showwarning = shown
        if told:
            with contextlib.suppress(OSError):
                _remove_oldest(folder, 0)


def _note(sentence: str) -> None:
    warnings.warn(sentence, UserWarning, stacklevel=3)
