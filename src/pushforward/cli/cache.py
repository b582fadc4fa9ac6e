"""Cache of compiled programs in a folder of the user, so that a repeated command does not compile again.

JAX looks a program up by a key of the program, its compiler and its options; a cached program gives the same bits as a
new one. This module does not import JAX, which reads its settings from the environment when a command imports it.
"""

import contextlib
import functools
import hashlib
import importlib.util
import os
import platform
import stat
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from pushforward.errors import MissingExtra

SWITCH = "PUSHFORWARD_CACHE"
_OFF = ("off", "0", "no", "false")
_LIMIT = 256 * 2**20
# If one of these is set, the user's choice stands.
_JAX_VARIABLES = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE", "JAX_COMPILATION_CACHE_MAX_SIZE")


@contextlib.contextmanager
def program_cache(limit: int = _LIMIT) -> Generator[None]:
    """Context in which JAX caches its compiled programs.

    It does nothing if the environment variable PUSHFORWARD_CACHE is "off", or if a variable of JAX configures the
    cache. A missing package, a folder that cannot be used, or a cached program that cannot be read causes one note.

    Args:
        limit: bytes; JAX removes the least recently used programs above it, and needs the package filelock for that.
    """
    if os.environ.get(SWITCH, "").lower() in _OFF or any(name in os.environ for name in _JAX_VARIABLES):
        yield
        return
    for package in ("filelock", "platformdirs"):
        if importlib.util.find_spec(package) is None:
            _note(str(MissingExtra(package, "cli", "the cache of compiled programs")))
            yield
            return
    try:
        folder = make_private(cache_folder()) / _machine()
        folder.mkdir(exist_ok=True)
    except OSError as error:
        _note(f"compiled programs are not cached ({error}): make that folder your own, or set {SWITCH}=off.")
        yield
        return
    # Cache all programs, however fast they compiled: compile times depend on how busy the machine is.
    settings = {
        "JAX_COMPILATION_CACHE_DIR": f"{folder}", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_COMPILATION_CACHE_MAX_SIZE": f"{limit}",
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        with _single_note(folder):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def with_program_cache(command: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a command to run in `program_cache`; its help, which runs no program, does not use the cache."""

    @functools.wraps(command)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        with program_cache():
            return command(*arguments, **options)

    return wrapper


def cache_folder() -> Path:
    """The folder `pushforward` in the user's cache folder of this platform.

    Raises:
        OSError: the path is not absolute, as without a home folder.
    """
    from platformdirs import user_cache_path

    folder = user_cache_path("pushforward", appauthor=False)
    if not folder.is_absolute():
        raise NotADirectoryError(f"{folder} is no absolute path")
    return folder


def make_private(folder: Path) -> Path:
    """Make the folder if it is missing, and close it to other users, since its programs are run.

    Raises:
        OSError: it cannot be made or written to, or it belongs to another user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(f"{folder} is a link")
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    if status.st_mode & 0o077:
        folder.chmod(0o700)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written to")
    return folder


def _machine() -> str:
    """A name for the type of processor: machines with different instruction sets may share a home folder."""
    kind = platform.machine() + platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        kind += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return "jax-" + hashlib.sha256(kind.encode()).hexdigest()[:12]


@contextlib.contextmanager
def _single_note(folder: Path) -> Generator[None]:
    """Replace all of JAX's warnings about its cache by one note; then empty the cache, since a program is damaged."""
    show_before, is_noted = warnings.showwarning, False

    def show(message: Warning | str, category: type[Warning], *details: object) -> None:
        nonlocal is_noted
        if "persistent compilation cache" not in str(message):
            show_before(message, category, *details)  # ty: ignore[invalid-argument-type]
        elif not is_noted:
            is_noted = True
            _note("a compiled program could not be written to the cache or read from it; the cache is emptied.")

    warnings.showwarning = show  # ty: ignore[invalid-assignment]
    try:
        yield
    finally:
        warnings.showwarning = show_before
        if is_noted:
            with contextlib.suppress(OSError):  # the command's own result counts
                for entry in folder.iterdir():
                    entry.unlink(missing_ok=True)


def _note(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=3)
