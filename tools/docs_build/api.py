"""The public names that the pages of the API reference list, as lines `::: pushforward.fit`."""

import re

from docs_build.pages import DOCS

API = DOCS / "reference" / "api"


def identifiers() -> list[str]:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(API.glob("*.md")))
    return re.findall(r"^::: (\S+)$", text, re.MULTILINE)
