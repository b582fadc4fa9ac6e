"""The Python code of a page of the documentation, as one program."""

import contextlib
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def run_page(name: str, folder: Path) -> dict:
    """Run the code of docs/`name` in a folder; returns its variables."""
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    variables: dict = {"__name__": "page"}
    with contextlib.chdir(folder):
        exec(compile("\n".join(blocks), name, "exec"), variables)  # noqa: S102
    return variables
