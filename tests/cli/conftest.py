"""Fixtures: a small table, two small models fitted by the command line, and a function that runs a command."""

import contextlib
import dataclasses
import json

import pytest
from small import AFFINE, rows

from pushforward import diagnostics
from pushforward.cli.app import run
from pushforward.diagnostics import Certificate, Row
from pushforward.tabular.files import write_table


@dataclasses.dataclass(frozen=True)
class Result:
    """The exit code and the output streams of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def command(capsys, tmp_path, monkeypatch):
    """A function that runs a command in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        capsys.readouterr()
        code = run([str(part) for part in arguments])
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def without_certificate():
    """A context manager in which `fit` computes no certificate, which is tested elsewhere."""
    healthy = Certificate((Row("none", 0.0, 1.0, True, "nothing was tested"),), "float32")

    @contextlib.contextmanager
    def enter():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(diagnostics, "check", lambda *parts, **options: healthy)
            yield

    return enter


@pytest.fixture
def unchecked(without_certificate):
    with without_certificate():
        yield


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "data.csv"
    write_table(path, rows(), ("a", "b", "c"))
    return path


@pytest.fixture(scope="session")
def model(table):
    """A model of a, b, c."""
    path = table.with_name("model.safetensors")
    assert run(["fit", str(table), "-o", str(path), "--quiet", *AFFINE]) == 0
    return path


@pytest.fixture(scope="session")
def conditional(table, without_certificate):
    """A model of a, b given c."""
    path = table.with_name("conditional.safetensors")
    with without_certificate():
        assert run(["fit", str(table), "--context", "c", "-o", str(path), "--quiet", *AFFINE]) == 0
    return path
