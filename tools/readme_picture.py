"""Draw the picture of the README, docs/assets/flow.png: that of the first block of docs/index.md.

python tools/readme_picture.py
"""

import re
from pathlib import Path

import matplotlib as mpl

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    mpl.use("Agg")
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python[^\n]*\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[:1]
    variables: dict = {}
    exec(compile(code, "docs/index.md", "exec"), variables)  # noqa: S102
    variables["figure"].savefig(ROOT / "docs" / "assets" / "flow.png", dpi=110)


if __name__ == "__main__":
    main()
