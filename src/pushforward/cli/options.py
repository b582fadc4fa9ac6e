"""What the commands share: options, output for people and for machines, outputs that must not exist yet."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.errors import TableError

Seed = Annotated[int, typer.Option("--seed", min=0, help="Decides every random number.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]


class Printer:
    """Results on standard output, as text or as JSON; progress and remarks on standard error.

    Args:
        json_only: print one JSON object instead of text.
        quiet: print no text at all.
    """

    def __init__(self, json_only: bool, quiet: bool) -> None:
        self.json_only, self.quiet = json_only, quiet
        self.shows_progress = not json_only and not quiet

    def say(self, text: str) -> None:
        """A line of text for people."""
        if self.shows_progress:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def table(self, title: str, header: list[str], rows: list[list[str]]) -> None:
        """A small table for people; the first column is text, the others are numbers."""
        if not self.shows_progress:
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(title=title, title_justify="left")
        for index, name in enumerate(header):
            table.add_column(name, justify="left" if index == 0 else "right")
        for row in rows:
            table.add_row(*row)
        Console().print(table)

    def result(self, values: dict[str, Any]) -> None:
        """The result for machines."""
        if self.json_only:
            sys.stdout.write(json.dumps(values) + "\n")


def names(option: str | None) -> list[str] | None:
    """The parts of `--columns a,b`."""
    return None if option is None else [name.strip() for name in option.split(",") if name.strip()]


def check_outputs(overwrite: bool, *paths: Path | None) -> None:
    """Refuse, before any work, outputs that exist or whose folder does not."""
    for path in paths:
        if path is None:
            continue
        if path.exists() and (path.is_dir() or not overwrite):
            raise TableError(f"{path}: this exists already. Choose another name, or pass --overwrite.")
        if not path.resolve().parent.is_dir():
            raise TableError(f"{path}: the folder {path.parent} does not exist. Make it first.")


def nats(value: float | None, error: float | None = None) -> str:
    """A log-likelihood with its standard error, for a table."""
    if value is None:
        return "-"
    return f"{value:.3f}" if error is None else f"{value:.3f} +- {error:.3f}"


def seconds(value: float | None) -> str:
    """A duration, for a table."""
    return "-" if value is None else f"{value:.2f} s"


def check_recipe(name: str, recipes: dict[str, Any]) -> None:
    """Refuse an unknown `--flow` as wrong use."""
    if name not in recipes:
        raise typer.BadParameter(f"expected one of {', '.join(recipes)}, got {name!r}.", param_hint="--flow")
