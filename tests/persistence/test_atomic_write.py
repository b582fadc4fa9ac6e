"""One writer's file appears as a whole; of two writers without --overwrite the second is refused; nothing is left."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import pushforward as pf
from pushforward.cli.outputs import write_json
from pushforward.cli.picture_files import write_pictures
from pushforward.persistence import atomic_write
from pushforward.persistence.atomic_write import partial_file, write_atomically
from pushforward.tabular.files import write_table

OTHER = b"the other program's result\n"
WRITERS: dict[str, Callable[[Path, bool], object]] = {
    "t.csv": lambda path, over: write_table(path, np.ones((2, 2)), ("a", "b"), overwrite=over),
    "t.parquet": lambda path, over: write_table(path, np.ones((2, 2)), ("a", "b"), overwrite=over),
    "m.safetensors": lambda path, over: pf.save(path, pf.bases.Normal((2,)), overwrite=over),
    "r.json": lambda path, over: write_json(path, {"a": 1.0}, over),
    "p.npy": lambda path, over: write_pictures(path, np.zeros((1, 2, 2, 1)), 2, overwrite=over),
}


@pytest.fixture
def other_program(monkeypatch) -> Callable[[Path], None]:
    """Lets another program create a file after ours is written and checked, just before it is renamed."""

    def appear(path: Path) -> None:
        rename = atomic_write._rename

        def late(part: Path, target: Path, check: Callable[[], object]) -> None:
            if target == path:
                target.write_bytes(OTHER)
            rename(part, target, check)

        monkeypatch.setattr(atomic_write, "_rename", late)

    return appear


def no_links(monkeypatch) -> None:
    def link(*parts: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)


@pytest.mark.parametrize("has_links", [True, False])
@pytest.mark.parametrize("name", WRITERS)
def test_file_created_meanwhile_is_not_replaced(name: str, has_links: bool, tmp_path: Path, other_program, monkeypatch):
    if not has_links:
        no_links(monkeypatch)
    path = tmp_path.resolve() / name
    other_program(path)
    with pytest.raises(ValueError, match="exists"):
        WRITERS[name](path, False)
    assert path.read_bytes() == OTHER
    assert [item.name for item in tmp_path.iterdir()] == [name]
    WRITERS[name](path, True)
    assert path.read_bytes() != OTHER
    assert [item.name for item in tmp_path.iterdir()] == [name]


def test_one_of_many_concurrent_writers_wins(tmp_path: Path) -> None:
    path, won, lost = tmp_path / "t.csv", [], []
    barrier = threading.Barrier(8)

    def write(k: int) -> None:
        barrier.wait()
        try:
            write_table(path, np.full((50, 1), float(k)), ["a"])
            won.append(k)
        except ValueError:
            lost.append(k)

    threads = [threading.Thread(target=write, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    assert path.read_text() == "a\n" + f"{float(won[0])}\n" * 50
    assert [item.name for item in tmp_path.iterdir()] == ["t.csv"]


KILLED = """
import os, signal, sys
from pathlib import Path
from pushforward.persistence.atomic_write import partial_file
with partial_file(Path(sys.argv[1]), is_folder=sys.argv[2] == "folder") as part:
    if part.is_dir():
        (part / "0.png").write_bytes(b"half")
    else:
        part.write_bytes(b"half")
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def a_writer(target: Path, kind: str) -> Iterator[subprocess.Popen]:
    """A process that is writing."""
    command = [sys.executable, "-c", KILLED, str(target), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_parts_of_killed_writers_are_removed_and_parts_in_use_are_not(kind: str, tmp_path: Path):
    (tmp_path / ".t.csv.0123456789abcdef.part").write_bytes(b"another program's")
    with a_writer(tmp_path / "dead.csv", kind) as dead, a_writer(tmp_path / "living.csv", kind):
        dead.kill()
        assert dead.wait() == -signal.SIGKILL
        assert len(list(tmp_path.glob(".*.pushforward.part"))) == 2
        write_table(tmp_path / "t.csv", np.ones((1, 1)), ["a"])
        left = [item.name for item in tmp_path.glob(".*.pushforward.part")]
        assert len(left) == 1
        assert left[0].startswith(".living.csv.")
    assert (tmp_path / ".t.csv.0123456789abcdef.part").exists()


def test_part_removed_before_its_lock_is_created_again(tmp_path: Path, monkeypatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    flock, takers = fcntl.flock, [atomic_write._remove_orphans]

    def late(descriptor: int, operation: int) -> None:
        while takers and not operation & fcntl.LOCK_NB:
            takers.pop()(tmp_path)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    write_atomically(tmp_path / "a", lambda file: file.write(b"text"), lambda: None)
    assert not takers
    assert (tmp_path / "a").read_bytes() == b"text"


@pytest.mark.parametrize("name", ["x" * 230, "\u00e9" * 120])
def test_long_names_and_folders_that_cannot_be_listed(name: str, tmp_path: Path) -> None:
    write_atomically(tmp_path / name, lambda file: file.write(b"text"), lambda: None)
    assert [item.name for item in tmp_path.iterdir()] == [name]
    with partial_file(tmp_path / "b") as part:
        assert part.exists()
    assert not part.exists()
