"""Writing a file in one step: it appears under its name as a whole, or nothing changes."""

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
except ImportError:  # a system without locks of this kind: what a killed writer left stays there
    fcntl = None

_PART = re.compile(r"\..+\.[0-9a-f]{16}\.pushforward\.part")
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV)


def write_atomically(target: Path, write: Callable[[IO[bytes]], object], check: Callable[[], object]) -> None:
    """Write beside the target, bring it to the disk, then give it its name; on a failure the target stays as it was.

    A target that is not there is created exclusively. Where another writer was faster, `check` is asked once more: it
    raises, and the other's file stays, unless files may be replaced. What writers that were killed left in the folder
    is removed.

    Args:
        target: the file; its folder must exist. A symbolic link is replaced, unless it is resolved first.
        write: puts the content into the open file it is given.
        check: raises if the target is there and must not be replaced.

    Raises:
        OSError: the disk refuses; and whatever `write` and `check` raise.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.txt")
    >>> write_atomically(path, lambda file: file.write(b"whole"), lambda: None)
    >>> path.read_text()
    'whole'
    """
    with partial_file(target) as part:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        check()
        _give_name(part, target, check)


@contextlib.contextmanager
def partial_file(target: Path, *, is_folder: bool = False) -> Generator[Path]:
    """A context whose value is a new, empty file or folder beside a target, which is gone when the context ends.

    A lock on it tells others that its writer lives; one without a lock is removed by whoever writes there next.
    """
    _remove_orphans(target.parent)
    part, lock = target.with_name(f".{target.name[:50]}.{secrets.token_hex(8)}.pushforward.part"), None
    try:  # before anything is made, for an interruption may come as soon as it is there
        lock = _make(part, is_folder)
        yield part
    finally:
        try:
            _remove(part)
        except KeyboardInterrupt:  # one signal can interrupt twice: polars sees it and Python sees it again
            _remove(part)
            raise
        finally:
            if lock is not None:
                os.close(lock)


def _make(part: Path, is_folder: bool) -> int | None:
    """Make the part; a descriptor that holds its lock, where the system has locks."""
    while True:
        if is_folder:
            part.mkdir()
        else:
            # O_EXCL: the name is ours alone; 0o666: the user's own mask decides who may read, as for any new file
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        if fcntl is None:
            return None
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(part, os.O_RDONLY)
            with contextlib.suppress(OSError):  # a disk without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            if part.exists():
                return lock
            os.close(lock)  # another writer came before the lock and took it for one that was left: once more


def _remove_orphans(folder: Path) -> None:
    """Remove what writers that were killed have left: parts whose lock nobody holds."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):  # the writing itself says what is wrong with a folder
        for name in [entry.name for entry in os.scandir(folder) if _PART.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):  # held by a living writer, gone meanwhile, or not ours
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


def _give_name(part: Path, target: Path, check: Callable[[], object]) -> None:
    try:
        os.link(part, target)  # fails where the target is there, in one step
    except FileExistsError:
        check()
        part.replace(target)
    except OSError as fault:
        if fault.errno not in _NO_LINKS:
            raise
        _give_name_without_links(part, target, check)


def _give_name_without_links(part: Path, target: Path, check: Callable[[], object]) -> None:
    """Where a disk has no hard links, an empty file takes the name first, which fails in one step just as well."""
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        check()
    part.replace(target)
