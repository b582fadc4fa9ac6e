"""Assertions about refusals of the command line: one printable line, an exit code, and no file."""

from pathlib import Path


def refused(result, code: int, *parts) -> None:
    """Asserts an exit code and one line on standard error that contains these parts, and no standard output."""
    assert result.code == code, result
    assert result.out == ""
    assert result.err.startswith("pushforward: ")
    assert result.err.count("\n") == 1
    assert result.err.endswith(".\n")
    assert "Traceback" not in result.err
    assert result.err[:-1].isprintable()
    for part in parts:
        assert str(part) in result.err, (part, result.err)


def listed(folder: Path) -> list[str]:
    """The names in a folder."""
    return sorted(path.name for path in folder.iterdir())
