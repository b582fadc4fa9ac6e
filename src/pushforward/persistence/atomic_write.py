"""Atomic writing: a complete file appears under its name, or nothing changes."""

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # a system without such locks: parts of killed writers remain
    fcntl = None

_PART = re.compile(r"\..+\.[0-9a-f]{16}\.pushforward\.part")
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV)


def write_atomically(target: Path, write: Callable[[IO[bytes]], object], check: Callable[[], object]) -> None:
    """Write a temporary file in the target's folder, flush it to the disk, and rename it; a failure changes nothing.

    A new target is created exclusively. If another writer creates it first, `check` is called once more: it raises,
    unless files may be replaced. Parts of killed writers in the folder are removed.

    Args:
        target: the file; its folder must exist. A symbolic link is replaced, unless it is resolved first.
        write: writes the content to an open file.
        check: raises if the target exists and must not be replaced.

    Raises:
        OSError: for a write error; and whatever `write` and `check` raise.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.txt")
    >>> write_atomically(path, lambda file: file.write(b"text"), lambda: None)
    >>> path.read_text()
    'text'
    """
    with partial_file(target) as part:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        check()
        _rename(part, target, check)


@contextlib.contextmanager
def partial_file(target: Path, *, is_folder: bool = False) -> Generator[Path]:
    """A context with a new, empty file or folder next to a target; it is removed when the context ends.

    A lock marks it as in use. The next writer to the folder removes parts without a lock.
    """
    _remove_orphans(target.parent)
    part, lock = target.with_name(f".{target.name[:50]}.{secrets.token_hex(8)}.pushforward.part"), None
    try:  # around the creation too, for an interruption may follow it at once
        lock = _make(part, is_folder)
        yield part
    finally:
        try:
            _remove(part)
        except KeyboardInterrupt:  # one signal can interrupt twice: in polars, then in Python
            _remove(part)
            raise
        finally:
            if lock is not None:
                os.close(lock)


def _make(part: Path, is_folder: bool) -> int | None:
    """Create the part; returns the descriptor that holds its lock, or None on systems without locks."""
    while True:
        if is_folder:
            part.mkdir()
        else:
            # O_EXCL: no other writer has this name; 0o666: the umask decides who may read, as for any new file
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        if fcntl is None:
            return None
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(part, os.O_RDONLY)
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            if part.exists():
                return lock
            os.close(lock)  # another writer removed the part before it was locked: try again


def _remove_orphans(folder: Path) -> None:
    """Remove the parts of killed writers: those that nobody locks."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):  # the write itself raises the error of the folder
        for name in [entry.name for entry in os.scandir(folder) if _PART.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):  # in use, already removed, or of another user
                descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(folder / name)
                finally:
                    os.close(descriptor)


def _remove(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)


def _rename(part: Path, target: Path, check: Callable[[], object]) -> None:
    try:
        os.link(part, target)  # atomic; fails if the target exists
    except FileExistsError:
        check()
        part.replace(target)
    except OSError as fault:
        if fault.errno not in _NO_LINKS:
            raise
        _rename_without_links(part, target, check)


def _rename_without_links(part: Path, target: Path, check: Callable[[], object]) -> None:
    """For a file system without hard links: create an empty file first, which is atomic too and fails if one exists."""
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        check()
    part.replace(target)
