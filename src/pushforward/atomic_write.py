"""Writing a file in one step: it appears under its name as a whole, or nothing changes."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO


def write_atomically(target: Path, write: Callable[[IO[bytes]], object], check: Callable[[], object]) -> None:
    """Write beside the target, bring it to the disk, then rename; on any failure the target stays as it was.

    Args:
        target: the file; its folder must exist. A symbolic link is replaced, unless it is resolved first.
        write: puts the content into the open file it is given.
        check: raises if the target must not be replaced. It is called just before the renaming: someone may have
            written there meanwhile.

    Raises:
        OSError: the disk refuses; and whatever `write` and `check` raise.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.txt")
    >>> write_atomically(path, lambda file: file.write(b"whole"), lambda: None)
    >>> path.read_text()
    'whole'
    """
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:  # before the file is opened, for an interruption may come as soon as it is there
        # O_EXCL: the name is ours alone; 0o666: the user's own mask decides who may read, as for any new file
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        check()
        part.replace(target)
    finally:
        try:
            part.unlink(missing_ok=True)
        except KeyboardInterrupt:  # one signal can interrupt twice: polars sees it and Python sees it again
            part.unlink(missing_ok=True)
            raise
