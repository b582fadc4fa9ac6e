"""The options that several commands share, and what their text means."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Decides every random number.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
DropNA = Annotated[bool, typer.Option("--drop-na", help="Leave out rows with missing cells.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="What a column holds, NAME=KIND: positive, bounded:LOW:HIGH, circular:START:END, heavy, whole, count, "
        "category, rounded:STEP, constant. May be given again.",
    ),
]
Exclude = Annotated[str | None, typer.Option("--exclude", help="Columns to leave out, a,b,c.")]
Groups = Annotated[
    str | None,
    typer.Option(
        help="Column of text or numbers: rows with one value of it stay together, all in the test, in validation or in "
        "training. It is not modelled, unless --columns or --context names it too."
    ),
]
SplitBy = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="time:COLUMN takes the latest rows for the test and the latest of the others for validation; COLUMN has "
        "numbers or ISO dates, and is not modelled unless --columns or --context names it too.",
        show_default="rows at random",
    ),
]
Plain = Annotated[bool, typer.Option("--plain", help="Look for no kinds of columns in the data.")]
Units = Annotated[list[str] | None, typer.Option("--unit", help="Unit of a column, NAME=UNIT. May be given again.")]
ModelFile = Annotated[Path, typer.Argument(help="Model file that `pushforward fit` wrote.", show_default=False)]


def names(option: str | None) -> list[str] | None:
    """The parts of `--columns a,b`; a name that holds a comma is quoted, as in a CSV header.

    >>> names('a, "b, in m"')
    ['a', 'b, in m']
    """
    if option is None:
        return None
    return [name.strip() for name in next(csv.reader([option], skipinitialspace=True), []) if name.strip()]


def counted(number: int, noun: str) -> str:
    """A number of things, in words that fit one of them too.

    >>> counted(1, "row"), counted(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def told(names: Sequence[str]) -> str:
    """Names in a sentence, those that hold a comma in quotes.

    >>> told(["a", "b, in m"])
    'a, "b, in m"'
    """
    return ", ".join(f'"{name}"' if "," in name else name for name in names)


def told_given(names: Sequence[str], context: Sequence[str]) -> str:
    """What is modelled, and given what.

    >>> told_given(["a", "b"], ["c"])
    'a, b given c'
    """
    return told(names) + (f" given {told(context)}" if context else "")


def listed(words: Sequence[str]) -> str:
    """The option that `names` takes apart again.

    >>> listed(["a", "b, in m"])
    'a,"b, in m"'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(words)
    return text.getvalue()


def declarations(options: list[str] | None, hint: str = "--column") -> dict[str, str]:
    """The words of `--column a=positive --column b=count` by their columns; of a name with "=", the last one counts.

    >>> declarations(["a=positive", "b=bounded:0:1"])
    {'a': 'positive', 'b': 'bounded:0:1'}
    """
    found: dict[str, str] = {}
    for option in options or []:
        name, equals, word = (piece.strip() for piece in option.rpartition("="))
        if not equals or not name or not word:
            raise typer.BadParameter(f"expected NAME=WORD, got {option!r}.", param_hint=hint)
        if name in found:
            raise typer.BadParameter(f"{name} is given twice: give it once.", param_hint=hint)
        found[name] = word
    return found


def time_column(option: str | None) -> str | None:
    """The column of `--split time:COLUMN`; None where the option is not given.

    >>> time_column("time:day: start")
    'day: start'
    """
    if option is None:
        return None
    kind, _, column = (part.strip() for part in option.partition(":"))
    if kind != "time" or not column:
        raise typer.BadParameter(f"expected time:COLUMN, got {option!r}.", param_hint="--split")
    return column


def check_excluded(exclude: list[str] | None, columns: list[str] | None, context: list[str] | None) -> None:
    """Refuse columns that are to be left out, and named by another option too; and --exclude beside --columns."""
    if exclude and columns is not None:
        raise typer.BadParameter(
            "expected --columns or --exclude, got both: leave the names out of --columns.", param_hint="--exclude"
        )
    for name in exclude or ():
        if name in (context or ()):
            raise typer.BadParameter(f"{name} is in --context too: name it once.", param_hint="--exclude")


def check_one_cut(groups: str | None, split: str | None) -> None:
    """Refuse two rules by which rows are cut."""
    if groups is not None and split is not None:
        raise typer.BadParameter(
            "expected --groups or --split, got both: rows are cut in one way.", param_hint="--split"
        )


def values_given(option: str | None, wanted: Sequence[str]) -> list[float] | None:
    """The numbers of `--given a=1.5,b=2` in the order of the names wanted; None where none are wanted.

    >>> values_given("b=2, a=1.5", ["a", "b"])
    [1.5, 2.0]
    """
    found: dict[str, float] = {}
    for part in names(option) or []:
        name, _, text = (piece.strip() for piece in part.rpartition("="))
        if name not in wanted:
            has = f"the model's context columns are {', '.join(wanted)}" if wanted else "the model has no context"
            raise typer.BadParameter(f"{part!r} names no context column: {has}.", param_hint="--given")
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise typer.BadParameter(f"expected {name}=NUMBER, got {part!r}.", param_hint="--given")
        if name in found:
            raise typer.BadParameter(f"{name} is given twice: give it once.", param_hint="--given")
        found[name] = number
    missing = [name for name in wanted if name not in found]
    if missing:
        example = listed([f"{name}=NUMBER" for name in wanted])
        raise typer.BadParameter(
            f"the model needs a value of {', '.join(missing)}: pass --given {example}.", param_hint="--given"
        )
    return [found[name] for name in wanted] if wanted else None
