"""Options that several commands share, and the parsers of their values."""

import csv
import inspect
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}

Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of every random number.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
DropNA = Annotated[bool, typer.Option("--drop-na", help="Leave out rows with missing cells.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="Type of a column, NAME=KIND: real, positive, bounded:LOW:HIGH, circular:START:END, heavy, whole, count, "
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
Plain = Annotated[
    bool, typer.Option("--plain", help="Infer no types: columns are real numbers unless --column declares them.")
]
Units = Annotated[list[str] | None, typer.Option("--unit", help="Unit of a column, NAME=UNIT. May be given again.")]
ModelFile = Annotated[Path, typer.Argument(help="Model file that `pushforward fit` wrote.", show_default=False)]


def split_names(option: str | None) -> list[str] | None:
    """Split `--columns a,b` into names; a name with a comma is quoted, as in a CSV header.

    >>> split_names('a, "b, in m"')
    ['a', 'b, in m']
    """
    if option is None:
        return None
    return [name.strip() for name in next(csv.reader([option], skipinitialspace=True), []) if name.strip()]


def pluralise(number: int, noun: str) -> str:
    """A number with its noun in singular or plural.

    >>> pluralise(1, "row"), pluralise(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def join_names(columns: Sequence[str]) -> str:
    """Join names for a message; names with a comma are quoted.

    >>> join_names(["a", "b, in m"])
    'a, "b, in m"'
    """
    return ", ".join(f'"{name}"' if "," in name else name for name in columns)


def describe_columns(columns: Sequence[str], context: Sequence[str]) -> str:
    """The modelled columns and the context columns, for a message.

    >>> describe_columns(["a", "b"], ["c"])
    'a, b given c'
    """
    return join_names(columns) + (f" given {join_names(context)}" if context else "")


def join_option(values: Sequence[str]) -> str:
    """Join names to the value of an option, the inverse of `split_names`.

    >>> join_option(["a", "b, in m"])
    'a,"b, in m"'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def parse_declarations(options: list[str] | None, hint: str = "--column") -> dict[str, str]:
    """Parse `--column a=positive --column b=count`; the last "=" separates name and value.

    >>> parse_declarations(["a=positive", "b=bounded:0:1"])
    {'a': 'positive', 'b': 'bounded:0:1'}
    """
    declared: dict[str, str] = {}
    for option in options or []:
        name, equals, value = (piece.strip() for piece in option.rpartition("="))
        if not equals or not name or not value:
            word = hint.strip("-").replace("column", "kind").upper()
            raise typer.BadParameter(f"expected NAME={word}, got {option!r}.", param_hint=hint)
        if name in declared:
            raise typer.BadParameter(f"{name} is given twice: give it once.", param_hint=hint)
        declared[name] = value
    return declared


def parse_row_options(
    columns: str | None, context: str | None, exclude: str | None, groups: str | None, split: str | None
) -> dict[str, Any]:
    """The options that select columns, and how rows are split, as arguments of `read_split` and `read_declared`.

    >>> parse_row_options("a,b", None, None, None, "time:day: start")
    {'columns': ['a', 'b'], 'context': None, 'exclude': None, 'groups': None, 'time': 'day: start'}
    """
    if groups is not None and split is not None:
        raise typer.BadParameter(
            "expected --groups or --split, got both: rows are split by one rule.", param_hint="--split"
        )
    if exclude and columns is not None:
        raise typer.BadParameter(
            "expected --columns or --exclude, got both: leave the names out of --columns.", param_hint="--exclude"
        )
    names = {"columns": split_names(columns), "context": split_names(context), "exclude": split_names(exclude)}
    for name in (name for name in names["exclude"] or () if name in (names["context"] or ())):
        raise typer.BadParameter(f"{name} is in --context too: name it once.", param_hint="--exclude")
    kind, _, time = (part.strip() for part in (split or "").partition(":"))
    if split is not None and (kind != "time" or not time):
        raise typer.BadParameter(f"expected time:COLUMN, got {split!r}.", param_hint="--split")
    return names | {"groups": groups, "time": time or None}


def parse_context(option: str | None, context_columns: Sequence[str]) -> list[float] | None:
    """Parse `--given a=1.5,b=2` into numbers in the order of the context columns; None if there are none.

    >>> parse_context("b=2, a=1.5", ["a", "b"])
    [1.5, 2.0]
    """
    values: dict[str, float] = {}
    for part in split_names(option) or []:
        name, _, text = (piece.strip() for piece in part.rpartition("="))
        if name not in context_columns:
            known = ", ".join(context_columns)
            has = f"the model's context columns are {known}" if known else "the model has no context"
            raise typer.BadParameter(f"{part!r} names no context column: {has}.", param_hint="--given")
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise typer.BadParameter(f"expected {name}=NUMBER, got {part!r}.", param_hint="--given")
        if name in values:
            raise typer.BadParameter(f"{name} is given twice: give it once.", param_hint="--given")
        values[name] = number
    missing = [name for name in context_columns if name not in values]
    if missing:
        example = join_option([f"{name}=NUMBER" for name in context_columns])
        raise typer.BadParameter(
            f"the model needs a value of {', '.join(missing)}: pass --given {example}.", param_hint="--given"
        )
    return [values[name] for name in context_columns] if context_columns else None


def find_recipe(flow: str | None, data: Path, **options: int | None) -> tuple[str, dict[str, Any]]:
    """Check that a recipe exists and is for such data; return its name and the settings that the user set.

    Args:
        flow: the name, or None for the default.
        data: a folder of pictures; anything else is a table.
        options: settings of the recipe; None if the user did not set them.
    """
    from pushforward.recipes import IMAGE_RECIPES, RECIPES

    known, others = (IMAGE_RECIPES, RECIPES) if data.is_dir() else (RECIPES, IMAGE_RECIPES)
    name = flow or ("glow" if data.is_dir() else "nsf")
    if name in others:
        reason = f"tables, and {data} is a folder" if data.is_dir() else f"pictures, and {data} is no folder of them"
        raise typer.BadParameter(f"{name!r} models {reason}: use one of {', '.join(known)}.", param_hint="--flow")
    if name not in known:
        raise typer.BadParameter(f"expected one of {', '.join(known)}, got {name!r}.", param_hint="--flow")
    settings = drop_none(**options)
    for setting in settings.keys() - inspect.signature(known[name]).parameters.keys():
        option = "--layers" if setting == "n_layers" else f"--{setting}"
        raise typer.BadParameter(f"the flow {name} has no such setting, got {settings[setting]}.", param_hint=option)
    return name, settings


def parse_time(text: str | None, option: str = "--time") -> float | None:
    """The seconds of a time such as 90, 90s, 20m or 1.5h; None for none."""
    if text is None:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in _SECONDS else (text, "s")
    try:
        seconds = float(number) * _SECONDS[unit]
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise typer.BadParameter(f"expected a time such as 90s, 20m or 1.5h, got {text!r}.", param_hint=option)
    return seconds


def drop_none(**options: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {name: value for name, value in options.items() if value is not None}
