"""The Python code of a page of the documentation, as one program."""

import contextlib
from pathlib import Path

from docs_build.pages import DOCS, read_page


def run_page(name: str, folder: Path) -> dict:
    """Run the code of docs/`name` in a folder; returns its variables."""
    blocks = [block.code for block in read_page(DOCS / name).blocks if block.language == "python"]
    variables: dict = {"__name__": "page"}
    with contextlib.chdir(folder):
        exec(compile("\n".join(blocks), name, "exec"), variables)  # noqa: S102
    return variables
