"""What every refusal of the command line is: one printable sentence, an exit code, and no file."""

from pathlib import Path


def refused(said, code: int, *words) -> None:
    """One sentence on standard error with these words in it, nothing on the other stream."""
    assert said.code == code, said
    assert said.out == ""
    assert said.err.startswith("pushforward: ")
    assert said.err.count("\n") == 1
    assert said.err.endswith(".\n")
    assert "Traceback" not in said.err
    assert said.err[:-1].isprintable()
    for word in words:
        assert str(word) in said.err, (word, said.err)


def listed(folder: Path) -> list[str]:
    """The names in a folder."""
    return sorted(path.name for path in folder.iterdir())
