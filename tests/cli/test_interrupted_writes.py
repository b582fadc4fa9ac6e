"""Writes that are killed, interrupted, or fail on a full disk leave the old file or the new one, never a part."""

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
from pushforward.diagnostics import Certificate, Row
from pushforward.errors import TableError
from pushforward.tabular.files import write_table

SMALL = {"key": 0, "n_layers": 2, "width": 8}


@pytest.fixture
def a_model(tmp_path):
    """A model of a, b, c in the folder of the commands."""
    pf.save(tmp_path / "model", pf.nice(dim=3, **SMALL), notes={"columns": ["a", "b", "c"]})
    return "model"


# kill -9: a process that writes two tables alternately to the same file

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


def kill_writers(suffix: str, times: int, folder: Path) -> None:
    """Kill the writer several times at random moments; the file is always one of the two tables."""
    contents = []
    for k in range(2):
        write_table(folder / f"whole{suffix}", np.full((20_000, 3), k, float), ["a", "b", "c"], overwrite=True)
        contents.append((folder / f"whole{suffix}").read_bytes())
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
        assert path.read_bytes() in contents
    others = {item.name for item in folder.iterdir()} - {path.name, f"whole{suffix}"}
    assert all(name.startswith(f".{path.name}.") and name.endswith(".part") for name in others)


@pytest.mark.parametrize("suffix", [".csv", ".npy"])
def test_killed_write_leaves_a_complete_file(suffix, tmp_path):
    kill_writers(suffix, 3, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", ".npy", ".npz", ".parquet", ".arrow"])
def test_fifty_killed_writes_leave_complete_files(suffix, tmp_path):
    kill_writers(suffix, 50, tmp_path)


# Ctrl-C: commands in one process, each interrupted by a real signal at a random moment

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
        sys.exit("the command fails without an interrupt")
    took.append(time.monotonic() - began)
    whole.append(Path(target).read_bytes())
before, codes = set(os.listdir()), []
for k in range(20 * int(times)):  # some commands end before their signal
    if codes.count(1) == int(times):
        break
    seed = str(k % 2)
    timer = threading.Timer(random.uniform(0, min(took)), os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        codes.append(run([*command, "--seed", seed]))
        timer.join()
        time.sleep(0.1)  # a signal after the end of the command, or sent again, arrives here
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


def interrupt(times: int, folder: Path, target: str, command: list[str]) -> None:
    """Interrupt a command several times: it reports that, its file is complete, and no other file is left."""
    arguments = [sys.executable, "-c", INTERRUPTED, str(times), target, *command, "--overwrite", "--quiet"]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = {line for line in done.stderr.splitlines() if line.startswith("pushforward: ")}
    assert lines == {"pushforward: interrupted."}, done.stderr[-3000:]
    assert done.stdout == f"interrupted {times} others set()\n"


def commands(folder: Path) -> dict[str, tuple[str, list[str]]]:
    """Commands by name, each with the file that it writes."""
    write_table(folder / "t.csv", np.random.default_rng(0).standard_normal((60_000, 3)), ["a", "b", "c"])
    cases.copy_to("plain.csv", folder)
    return {
        "sample": ("s.csv", ["sample", "model", "-n", "60000", "-o", "s.csv"]),
        "score": ("s.parquet", ["score", "model", "t.csv", "-o", "s.parquet"]),
        "fit": ("m", cases.FIT.replace("FILE", "plain.csv").replace("m.safetensors", "m").split()),
    }


def test_interrupted_command_leaves_a_complete_file(a_model, tmp_path):
    target, command = commands(tmp_path)["sample"]
    interrupt(6, tmp_path, target, command)


@pytest.mark.slow
@pytest.mark.parametrize("command_name", ["sample", "score", "fit"])
def test_fifty_interrupted_commands_leave_complete_files(a_model, command_name, tmp_path):
    target, command = commands(tmp_path)[command_name]
    interrupt(50, tmp_path, target, command)


def test_interruption_during_imports_is_reported(tmp_path):
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


def fill_disk(monkeypatch, after: int = 0) -> None:
    """Simulate a disk that is full after so many files."""
    remaining, fsync = [after], os.fsync

    def full(descriptor):
        remaining[0] -= 1
        if remaining[0] < 0:
            raise OSError(28, FULL)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".arrow", ".npy", ".npz"])
def test_full_disk_leaves_the_old_table(command, a_model, suffix, monkeypatch, tmp_path):
    name = f"s{suffix}"
    Path(name).write_text("mine")
    before = listed(tmp_path)
    fill_disk(monkeypatch)
    refused(
        command("sample", a_model, "-n", "5", "-o", name, "--overwrite", "--quiet"), 1, name, FULL, "choose another"
    )
    assert Path(name).read_text() == "mine"
    assert listed(tmp_path) == before


def test_full_disk_leaves_the_old_scores(command, a_model, monkeypatch, tmp_path):
    cases.copy_to("good.csv", tmp_path)
    Path("s.csv").write_text("mine")
    fill_disk(monkeypatch)
    messages = ("s.csv", FULL, "choose another")
    refused(command("score", a_model, "good.csv", "-o", "s.csv", "--overwrite"), 1, *messages)
    assert listed(tmp_path) == ["good.csv", "model", "s.csv"]
    assert Path("s.csv").read_text() == "mine"


@pytest.mark.parametrize(("n_written", "full"), [(0, "m.safetensors"), (1, "r.html")])
def test_full_disk_leaves_the_old_model_and_report(command, n_written, full, monkeypatch, tmp_path):
    from pushforward.cli import pages
    from pushforward.reporting.report.sections import write_sections

    healthy = Certificate((Row("none", 0.0, 1.0, True, "nothing was tested"),), "float32")
    monkeypatch.setattr(diagnostics, "check", lambda *parts, **options: healthy)
    # only the last step of the report
    monkeypatch.setattr(
        pages, "fit_report", lambda path, *parts, **options: write_sections(path, "title", ["One."], [], {}, True)
    )
    cases.copy_to("plain.csv", tmp_path)
    Path(full).write_text("mine")
    fill_disk(monkeypatch, n_written)
    options = [*cases.FIT.replace("FILE", "plain.csv").split(), "--report", "r.html", "--overwrite", "--quiet"]
    refused(command(*options), 1, full, FULL, "choose another")
    assert Path(full).read_text() == "mine"
    assert listed(tmp_path) == sorted({"m.safetensors", "plain.csv", full})


def test_full_disk_leaves_the_old_json(monkeypatch, tmp_path):
    path = tmp_path / "result.json"
    path.write_text("mine")
    fill_disk(monkeypatch)
    with pytest.raises(TableError, match=rf"result\.json: cannot be written \({FULL}\): choose another path\.$"):
        write_json(path, {"a": 1.0}, overwrite=True)
    assert path.read_text() == "mine"
    assert listed(tmp_path) == ["result.json"]


# SIGTERM and SIGHUP: sent by kill, batch queues, containers and closed terminals

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


def terminate(sign: str, target: str, folder: Path, *more: str) -> tuple[str, str]:
    """The output of a program that gets a signal while it writes a table."""
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
def test_terminated_write_leaves_no_file(sign, target, more, tmp_path):
    assert terminate(sign, target, tmp_path, *more) == ("interrupted\n", "")
    assert listed(tmp_path) == []


def test_terminated_command_reports_it_and_leaves_no_file(a_model, tmp_path):
    assert terminate("SIGTERM", "s.parquet", tmp_path, "command") == ("1\n", "pushforward: interrupted.\n")
    assert listed(tmp_path) == ["model"]


def test_ignored_signal_stays_ignored(tmp_path):
    assert terminate("SIGHUP", "s.csv", tmp_path, "nohup") == ("to the end\n", "")
    assert listed(tmp_path) == ["s.csv"]
