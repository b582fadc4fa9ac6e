"""Tables of benchmark results in pages: `<!-- table: speed.md#2 | rows: maf, nsf | columns: 1, 3 -->`."""

import re
import textwrap

from docs_build.pages import ROOT, outside_code

RESULTS = ROOT / "benchmarks" / "results"
COMMENT = re.compile(r"^(?P<indent> *)<!--[ ]*(?P<directive>(?:[Tt]a|[^>\n]*\.md)[^\n]*?)-->[ ]*$", re.MULTILINE)
DIRECTIVE = re.compile(r"table: *(?P<file>[\w/]+\.md)(?:#(?P<number>\d+))? *(?:\|(?P<options>.*))?")
TABLE = re.compile(r"(?:^\|.*\n?)+", re.MULTILINE)


def insert_tables(markdown: str) -> tuple[str, list[str]]:
    """The page with its tables, and the faults of its directives, which stay."""
    faults = []

    def replace(comment: re.Match[str]) -> str:
        directive = comment["directive"].strip()
        try:
            return textwrap.indent(table(directive), comment["indent"])
        except ValueError as error:
            faults.append(f"<!-- {directive} -->: {error}")
            return comment[0]

    return outside_code(COMMENT, replace, markdown), faults


def table(directive: str) -> str:
    """The table of a file of results, with a line that names the source.

    Raises:
        ValueError: if this is no directive, or there is no such file, table, row or column.
    """
    parts = DIRECTIVE.fullmatch(directive)
    if not parts:
        raise ValueError("expected <!-- table: file.md#number | rows: words | columns: numbers -->.")
    file, number, options = parts["file"], int(parts["number"] or 1), _options(parts["options"])
    path = RESULTS / file
    if not path.exists():
        raise ValueError(f"expected a file of benchmarks/results, there is no {file}.")
    text = path.read_text(encoding="utf-8")
    tables = [lines[0].splitlines() for lines in TABLE.finditer(text)]
    if not 1 <= number <= len(tables):
        raise ValueError(f"{file} has {len(tables)} tables, no table {number}.")
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])] for line in tables[number - 1]]
    words = options.get("rows", [])
    chosen = [row for row in cells[2:] if not words or any(word in row[0] for word in words)]
    missing = [word for word in words if not any(word in row[0] for row in chosen)]
    if missing:
        raise ValueError(f"no row has {', '.join(missing)} in its first cell.")
    known = [str(column) for column in range(1, len(cells[0]) + 1)]
    columns = options.get("columns", known)
    if unknown := [column for column in columns if column not in known]:
        raise ValueError(f"the table has the columns 1 to {len(known)}, got {', '.join(unknown)}.")
    rows = ["| " + " | ".join(row[int(column) - 1] for column in columns) + " |" for row in (*cells[:2], *chosen)]
    return "\n".join([*rows, "", _source(file, text), ""])


def _options(text: str | None) -> dict[str, list[str]]:
    options = {}
    for option in [] if text is None else text.split("|"):
        name, _, words = (part.strip() for part in option.partition(":"))
        options[name] = [word.strip() for word in words.split(",")]
        if name not in ("rows", "columns") or not all(options[name]):
            raise ValueError(f"expected 'rows: words' or 'columns: numbers', got {option.strip()!r}.")
    return options


def _source(file: str, text: str) -> str:
    """Where the numbers come from: the file, and the command and date that its header names."""
    made = re.search(r"^Made by (`[^`]+`)(?: on (\d{4}-\d{2}-\d{2}))?", text, re.MULTILINE)
    command = f", made by {made[1]}" + (f" on {made[2]}" if made[2] else "") if made else ""
    return f'<p class="page-source" markdown="span">Source: `benchmarks/results/{file}`{command}.</p>'
