"""Tables of benchmark results in pages: `<!-- table: speed.md#2 | rows: maf, nsf | columns: 1, 3 -->`."""

import re

from docs_build.pages import ROOT

RESULTS = ROOT / "benchmarks" / "results"
LINE = re.compile(r"^<!-- table: *(?P<file>[\w/]+\.md)(?:#(?P<number>\d+))?(?P<options>[^>]*)-->$", re.MULTILINE)
TABLE = re.compile(r"(?:^\|.*\n?)+", re.MULTILINE)


def insert_tables(markdown: str) -> str:
    return LINE.sub(lambda line: table(line["file"], int(line["number"] or 1), line["options"]), markdown)


def table(file: str, number: int, options: str) -> str:
    """The table of a file of results, with a line that names the source.

    Raises:
        ValueError: if there is no such file, table, row or column.
    """
    path = RESULTS / file
    directive = f"<!-- table: {file}#{number}{options}-->"
    if not path.exists():
        raise ValueError(f"{directive}: expected a file of benchmarks/results, there is no {file}.")
    text = path.read_text(encoding="utf-8")
    tables = [lines[0].splitlines() for lines in TABLE.finditer(text)]
    if not 1 <= number <= len(tables):
        raise ValueError(f"{directive}: {file} has {len(tables)} tables, no table {number}.")
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])] for line in tables[number - 1]]
    words = _option(options, "rows")
    chosen = [row for row in cells[2:] if not words or any(word in row[0] for word in words)]
    missing = [word for word in words if not any(word in row[0] for row in chosen)]
    if missing:
        raise ValueError(f"{directive}: no row has {', '.join(missing)} in its first cell.")
    columns = [int(column) for column in _option(options, "columns")] or list(range(1, len(cells[0]) + 1))
    if not all(1 <= column <= len(cells[0]) for column in columns):
        raise ValueError(f"{directive}: the table has the columns 1 to {len(cells[0])}.")
    rows = ["| " + " | ".join(row[c - 1] for c in columns) + " |" for row in (*cells[:2], *chosen)]
    return "\n".join([*rows, "", _source(file, text), ""])


def _option(options: str, name: str) -> list[str]:
    found = re.search(rf"\| *{name}: *([^|]*)", options)
    return [word.strip() for word in found[1].split(",")] if found else []


def _source(file: str, text: str) -> str:
    """Where the numbers come from: the file, and the command and date that its header names."""
    made = re.search(r"^Made by (`[^`]+`)(?: on (\d{4}-\d{2}-\d{2}))?", text, re.MULTILINE)
    command = f", made by {made[1]}" + (f" on {made[2]}" if made[2] else "") if made else ""
    return f'<p class="page-source" markdown="span">Source: `benchmarks/results/{file}`{command}.</p>'
