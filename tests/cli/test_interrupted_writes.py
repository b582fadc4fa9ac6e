"""Writes that are killed, interrupted, or refused by a full disk: the old file or the new one, never a part of one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from corpus import cases
from corpus.assertions import listed, refused

import pushforward as pf
from pushforward import diagnostics
from pushforward.cli.outputs import write_json
from pushforward.diagnostics.certificate import Certificate, Row
from pushforward.errors import TableError
from pushforward.tabular.files import write_table

SMALL = {"key": 0, "n_layers": 2, "width": 8}


@pytest.fixture
def a_model(tmp_path):
    """Of a, b, c, in the folder where the commands run."""
    pf.save(tmp_path / "model", pf.nice(dim=3, **SMALL), notes={"columns": ["a", "b", "c"]})
    return "model"


# kill -9: a process that does nothing but write two tables in turn, each over the other

WRITER = """
import sys
import numpy as np
from pushforward.tabular.files import write_table
name = sys.argv[1]
for k in range(10**9):
    write_table(name, np.full((20_000, 3), k % 2, float), ["a", "b", "c"], overwrite=True)
    if k == 2:
        print("ready", flush=True)
"""


def killed(suffix: str, times: int, folder: Path) -> None:
    """Kill the writer as often as told, each time at a random moment; what lies under the name is one of the two."""
    whole = []
    for k in range(2):
        write_table(folder / f"whole{suffix}", np.full((20_000, 3), k, float), ["a", "b", "c"], overwrite=True)
        whole.append((folder / f"whole{suffix}").read_bytes())
    path, random = folder / f"t{suffix}", np.random.default_rng()
    for _ in range(times):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path.name], cwd=folder, stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(random.uniform(0.0, 0.1))
            writer.kill()
        assert writer.returncode == -signal.SIGKILL
        assert path.read_bytes() in whole
    others = {item.name for item in folder.iterdir()} - {path.name, f"whole{suffix}"}
    assert all(name.startswith(f".{path.name}.") and name.endswith(".part") for name in others)


@pytest.mark.parametrize("suffix", [".csv", ".npy"])
def test_a_killed_write_leaves_a_whole_file(suffix, tmp_path):
    killed(suffix, 3, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", ".npy", ".npz", ".parquet", ".arrow"])
def test_fifty_killed_writes_leave_whole_files(suffix, tmp_path):
    killed(suffix, 50, tmp_path)


# Ctrl-C: commands in one process, each interrupted by a real signal at a random moment, most of all of the writing

INTERRUPTED = """
import os, random, signal, sys, threading, time
from pathlib import Path
from pushforward.cli.app import run

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell has it ignored
times, target, *command = sys.argv[1:]
whole, took = [], []
for seed in ("0", "1", "0", "1"):
    began = time.monotonic()
    if run([*command, "--seed", seed]):
        sys.exit("the command fails by itself")
    took.append(time.monotonic() - began)
    whole.append(Path(target).read_bytes())
before, codes = set(os.listdir()), []
for k in range(20 * int(times)):  # some commands end before their signal comes
    if codes.count(1) == int(times):
        break
    seed = str(k % 2)
    timer = threading.Timer(random.uniform(0, min(took)), os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        codes.append(run([*command, "--seed", seed]))
        timer.join()
        time.sleep(0.1)  # a signal that came after the command ended, or comes again, is seen here at the latest
    except KeyboardInterrupt:
        timer.join()
    assert not set(os.listdir()) - before, set(os.listdir()) - before
    if command[0] == "fit":
        from pushforward import load
        load(target)
    else:
        assert Path(target).read_bytes() in whole
print("interrupted", codes.count(1), "others", set(codes) - {0, 1})
"""


def interrupted(times: int, folder: Path, target: str, command: list[str]) -> None:
    """A command that is interrupted says so; its file is whole, and the folder clean, every time."""
    arguments = [sys.executable, "-c", INTERRUPTED, str(times), target, *command, "--overwrite", "--quiet"]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    said = {line for line in done.stderr.splitlines() if line.startswith("pushforward: ")}
    assert said == {"pushforward: interrupted."}, done.stderr[-3000:]
    assert done.stdout == f"interrupted {times} others set()\n"


def commands(folder: Path) -> dict[str, tuple[str, list[str]]]:
    """What writes which file."""
    write_table(folder / "t.csv", np.random.default_rng(0).standard_normal((60_000, 3)), ["a", "b", "c"])
    cases.copy_to("plain.csv", folder)
    return {
        "sample": ("s.csv", ["sample", "model", "-n", "60000", "-o", "s.csv"]),
        "score": ("s.parquet", ["score", "model", "t.csv", "-o", "s.parquet"]),
        "fit": ("m", cases.FIT.replace("FILE", "plain.csv").replace("m.safetensors", "m").split()),
    }


def test_an_interrupted_command_leaves_a_whole_file_and_nothing_else(a_model, tmp_path):
    target, command = commands(tmp_path)["sample"]
    interrupted(6, tmp_path, target, command)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["sample", "score", "fit"])
def test_fifty_interrupted_commands_leave_whole_files(a_model, verb, tmp_path):
    target, command = commands(tmp_path)[verb]
    interrupted(50, tmp_path, target, command)


def test_an_interruption_while_modules_are_loaded_is_one_sentence(tmp_path):
    program = (
        "import sys, pushforward.cli as cli\n"
        "class Stopped:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'pushforward.cli.app':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stopped())\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "pushforward: interrupted.\n")


# A full disk

FULL = "No space left on device"


def fill(monkeypatch, after: int = 0) -> None:
    """Let the disk be full after so many files."""
    left, fsync = [after], os.fsync

    def full(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, FULL)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".arrow", ".npy", ".npz"])
def test_a_full_disk_keeps_the_old_table(command, a_model, suffix, monkeypatch, tmp_path):
    name = f"s{suffix}"
    Path(name).write_text("mine")
    before = listed(tmp_path)
    fill(monkeypatch)
    refused(command("sample", a_model, "-n", "5", "-o", name, "--overwrite"), 1, name, FULL, "another place")
    assert Path(name).read_text() == "mine"
    assert listed(tmp_path) == before


def test_a_full_disk_keeps_the_old_scores(command, a_model, monkeypatch, tmp_path):
    cases.copy_to("good.csv", tmp_path)
    Path("s.csv").write_text("mine")
    fill(monkeypatch)
    words = ("s.csv", FULL, "another place")
    refused(command("score", a_model, "good.csv", "-o", "s.csv", "--overwrite"), 1, *words)
    assert listed(tmp_path) == ["good.csv", "model", "s.csv"]
    assert Path("s.csv").read_text() == "mine"


@pytest.mark.parametrize(("written", "full"), [(0, "m.safetensors"), (1, "r.html")])
def test_a_full_disk_keeps_the_old_model_and_the_old_report(command, written, full, monkeypatch, tmp_path):
    from pushforward.cli import pages
    from pushforward.reporting.report.frame import write_sections

    healthy = Certificate((Row("none", 0.0, 1.0, True, "nothing was tested"),), "float32")
    monkeypatch.setattr(diagnostics, "check", lambda *parts, **options: healthy)
    # the report's last step without the work before it
    monkeypatch.setattr(
        pages, "fit_report", lambda path, *parts, **options: write_sections(path, "title", ["One."], [], None, True)
    )
    cases.copy_to("plain.csv", tmp_path)
    Path(full).write_text("mine")
    fill(monkeypatch, written)
    options = [*cases.FIT.replace("FILE", "plain.csv").split(), "--report", "r.html", "--overwrite", "--quiet"]
    refused(command(*options), 1, full, FULL, "another place")
    assert Path(full).read_text() == "mine"
    assert listed(tmp_path) == sorted({"m.safetensors", "plain.csv", full})


def test_a_full_disk_keeps_the_old_json(monkeypatch, tmp_path):
    path = tmp_path / "result.json"
    path.write_text("mine")
    fill(monkeypatch)
    with pytest.raises(TableError, match=rf"result\.json: cannot be written \({FULL}\): choose another place\.$"):
        write_json(path, {"a": 1.0}, overwrite=True)
    assert path.read_text() == "mine"
    assert listed(tmp_path) == ["result.json"]


# SIGTERM and SIGHUP: how kill, batch queues, containers and closed terminals end a program

ENDED = """
import os, signal, sys
sign, target, *more = sys.argv[1:]
if "background" in more:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN if "nohup" in more else signal.SIG_DFL)  # nohup around the tests ignores it
import numpy as np
from pushforward.tabular import files as tables

def rows(n):
    for k in range(n):
        if k == 5:
            assert any(name.endswith(".part") for name in os.listdir())
            os.kill(os.getpid(), getattr(signal, sign))
        yield np.zeros((2_000, 3))
    print("to the end")

def write(path, *parts, **options):
    tables.write_batches(path, rows(20 if "nohup" in more else 5_000), list("abc"))

if "command" in more:
    write_table, tables.write_table = tables.write_table, write
    from pushforward.cli.app import run
    print(run(["sample", "model", "-o", target, "--quiet"]))
else:
    from pushforward.cli.signals import as_interrupts
    try:
        with as_interrupts():
            write(target)
    except KeyboardInterrupt:
        print("interrupted")
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
"""


def ended(sign: str, target: str, folder: Path, *more: str) -> tuple[str, str]:
    """What a program says that writes a table and is sent a signal meanwhile."""
    arguments = [sys.executable, "-c", ENDED, sign, target, *more]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    ("sign", "target", "more"),
    [
        ("SIGTERM", "s.csv", ()),
        ("SIGTERM", "s.parquet", ()),
        ("SIGHUP", "s.csv", ()),
        ("SIGTERM", "s.csv", ("background",)),
    ],
)
def test_a_write_that_is_ended_leaves_nothing_behind(sign, target, more, tmp_path):
    assert ended(sign, target, tmp_path, *more) == ("interrupted\n", "")
    assert listed(tmp_path) == []


def test_a_command_that_is_ended_says_so_and_leaves_nothing_behind(a_model, tmp_path):
    assert ended("SIGTERM", "s.parquet", tmp_path, "command") == ("1\n", "pushforward: interrupted.\n")
    assert listed(tmp_path) == ["model"]


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    assert ended("SIGHUP", "s.csv", tmp_path, "nohup") == ("to the end\n", "")
    assert listed(tmp_path) == ["s.csv"]
