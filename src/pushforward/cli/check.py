"""`pushforward check`: the health certificate of a model."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.options import Debug, DropNA, Json, ModelFile, Quiet, Seed, counted
from pushforward.cli.printer import Printer, plain

_WIDE = 130  # columns of a terminal from which words stand beside the numbers
_STYLES = {True: "green", False: "bold red", None: "dim"}
_WORDS = {True: "ok", False: "FAILED", None: "not tested"}


def check(
    model: ModelFile,
    data: Annotated[
        Path | None, typer.Argument(help="Table with the model's columns, or folder of pictures.", show_default=False)
    ] = None,
    drop_na: DropNA = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Test a model: round trips, log-determinants, normalisation, and with a table whether it fits those rows.

    Without a table the model is held against its own samples, and what was found when it was made is told. Exit code 1
    if a test fails.
    """
    out = Printer(json, quiet)
    from pushforward.cli.model_file import is_image_model, load_model, matching_rows, schema_of
    from pushforward.core.named_rows import NamedRows
    from pushforward.diagnostics import Certificate
    from pushforward.diagnostics import check as certify
    from pushforward.errors import DataError

    flow, notes = load_model(model)
    try:
        when_made = Certificate.from_dict(notes["certificate"]) if notes.get("certificate") else None
    except DataError as error:
        raise DataError(f"{model}: its notes have no readable {error}") from error
    found = None if data is None else matching_rows(flow, notes, data, drop_na)
    x: Any = None if found is None else found.x
    if found is not None and not is_image_model(flow):  # by their names and numbers, which the certificate then uses
        schema = schema_of(model, flow, notes)
        x = NamedRows(found.x, [schema.names[place] for place in schema.modelled_indices], found.numbers)
    context = None if found is None else found.context
    with out.stage("testing the model (certificate)"):
        certificate = certify(flow, x, key=seed, context=context)
    if out.talks:
        _show(out, certificate)
    outside = {} if is_image_model(flow) else _outside(model, flow, notes, context, seed)
    for _, sentence in outside.values():
        out.say(sentence)
    dropped = 0 if found is None else found.dropped
    if dropped:
        out.say(f"Left out: {counted(dropped, 'row')} with a missing cell.")
    if data is None:
        for line in _history(notes, when_made):
            out.say(line)
    told = {} if when_made is None else {"when_made": when_made.to_dict()}
    shares = {name: share for name, (share, _) in outside.items()}
    out.result(certificate.to_dict() | told | {"dropped": dropped, "outside_range": shares})
    return 0 if certificate.ok else 1


def _outside(model: Path, flow: Any, notes: dict[str, Any], context: Any, seed: int) -> dict[str, tuple[float, str]]:
    """Columns of which samples lie outside the range of the rows that the model was made of, where the file has it."""
    from pushforward.cli.fit import range_samples
    from pushforward.cli.model_file import schema_of
    from pushforward.tabular.schema import Range, out_of_range

    schema = schema_of(model, flow, notes)
    columns = [schema.columns[place] for place in schema.modelled_indices]
    seen = Range.from_dict(notes.get("seen"), [column.name for column in columns])
    if seen is None or (flow.context_shape is not None and context is None):
        return {}
    return out_of_range(columns, range_samples(flow, seed, context), seen)


def _show(out: Printer, certificate: Any) -> None:
    """The rows with their words beside them where the terminal is wide, else the plain table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout)
    if not console.is_terminal or console.width < _WIDE:
        out.say(str(certificate))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("test", "value", "bound", "result", ""):
        table.add_column(name, justify="right" if name in ("value", "bound") else "left", no_wrap=bool(name))
    for row in certificate.rows:
        numbers = [Text("-" if number is None else f"{number:.3g}") for number in (row.value, row.bound)]
        words = Text(plain(row.message))
        if row.fix:
            words.append(f"\n{plain(row.fix)}", style="italic")
        table.add_row(Text(plain(row.name)), *numbers, Text(_WORDS[row.ok], style=_STYLES[row.ok]), words)
    console.print(table)
    console.print(Text(plain(certificate.verdict), style=_STYLES[certificate.ok]))


def _history(notes: dict[str, Any], when_made: Any) -> list[str]:
    """What the file says of the model's own data."""
    from pushforward.cli.model_file import number_in

    lines = []
    if when_made is not None:
        lines.append(f"When it was made: {when_made.verdict}")
        lines += [
            f"  {row.name}: {row.message}" for row in when_made.rows if row.ok is False or row.name == "over-fitting"
        ]
    found, floor = (number_in(notes, name) for name in ("held_out_nats", "gaussian_log_likelihood"))
    where, repeating = notes.get("held_out"), notes.get("repeating")
    if isinstance(repeating, list) and repeating:
        known = ", ".join(map(repr, repeating))
        lines.append(f"Values repeat in {known}, where a density has no bound: log-likelihoods are no measure there.")
    if found is not None:
        beside = "" if floor is None else f" (a Gaussian: {floor:.3f})"
        lines.append(f"Its log-likelihood then: {found:.3f} nats a row on {where or 'held-out rows'}{beside}.")
    return ["", *lines, "Give a table to test it on rows: pushforward check MODEL TABLE."]
