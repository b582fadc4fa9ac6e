"""`pushforward check`: whether a model can be used, and with --details its health certificate."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.options import Debug, DropNA, Json, ModelFile, Quiet, Seed, pluralise
from pushforward.cli.printer import Printer, plain, print_verdict

_WIDE_TERMINAL = 130  # characters: from this width on, the table has a column for messages
_STYLES = {True: "green", False: "bold red", None: "dim"}
_RESULTS = {True: "ok", False: "FAILED", None: "not tested"}


def check(
    model: ModelFile,
    data: Annotated[
        Path | None, typer.Argument(help="Table with the model's columns, or folder of pictures.", show_default=False)
    ] = None,
    drop_na: DropNA = False,
    details: Annotated[bool, typer.Option("--details", help="Print every test, with its value and bound.")] = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Test a model: whether it can be computed, adds up to one, and with a table whether it fits those rows.

    The verdict is printed with what to do, and with --details every test. Without a table the stored verdict of `fit`
    is printed too. Exit code 1 if a test fails.
    """
    out = Printer(json, quiet)
    from pushforward.cli.model_file import is_image_model, load_model, matching_rows, schema_of
    from pushforward.core.named_rows import NamedRows
    from pushforward.diagnostics import Certificate
    from pushforward.diagnostics import check as certify
    from pushforward.errors import DataError

    flow, notes = load_model(model)
    try:
        stored_certificate = Certificate.from_dict(notes["certificate"]) if notes.get("certificate") else None
    except DataError as error:
        raise DataError(f"{model}: its notes have no readable {error}") from error
    rows = None if data is None else matching_rows(flow, notes, data, drop_na)
    x: Any = None if rows is None else rows.x
    if rows is not None and not is_image_model(flow):  # the certificate uses column names and row numbers
        schema = schema_of(model, flow, notes)
        x = NamedRows(rows.x, [column.name for column in schema.modelled_columns], rows.numbers)
    context = None if rows is None else rows.context
    with out.stage("testing the model (certificate)"):
        certificate = certify(flow, x, key=seed, context=context)
    print_verdict(out, certificate)
    if details and out.prints_text:
        out.print()
        _print_certificate(out, certificate)
    elif out.prints_text:
        out.print(_count_results(certificate))
    outside_range = {} if is_image_model(flow) else _columns_outside_range(model, flow, notes, context, seed)
    for _, message in outside_range.values():
        out.print(message)
    dropped = 0 if rows is None else rows.dropped
    out.print_left_out(dropped)
    if data is None:
        if stored_certificate is not None and out.prints_text:
            out.print("\nWhen it was made:")
            print_verdict(out, stored_certificate)
            if details:
                _print_certificate(out, stored_certificate)
        for line in _describe_notes(notes):
            out.print(line)
    stored = {} if stored_certificate is None else {"when_made": stored_certificate.to_dict()}
    shares = {name: share for name, (share, _) in outside_range.items()}
    out.result(certificate.to_dict() | stored | {"dropped": dropped, "outside_range": shares})
    return 0 if certificate.ok else 1


def _columns_outside_range(
    model: Path, flow: Any, notes: dict[str, Any], context: Any, seed: int
) -> dict[str, tuple[float, str]]:
    """Columns whose samples lie outside the range of the training rows, if the file has that range."""
    from pushforward.cli.fit import range_samples
    from pushforward.cli.model_file import schema_of
    from pushforward.tabular.schema import Range, out_of_range

    schema = schema_of(model, flow, notes)
    columns = schema.modelled_columns
    training_range = Range.from_dict(notes.get("seen"), [column.name for column in columns])
    if training_range is None or (flow.context_shape is not None and context is None):
        return {}
    return out_of_range(columns, range_samples(flow, seed, context), training_range)


def _count_results(certificate: Any) -> str:
    counts = [sum(row.ok is result for row in certificate.rows) for result in (True, False, None)]
    failed = f"{counts[1]} failed, {counts[2]} could not be made"
    return f"{pluralise(counts[0], 'test')} passed, {failed}. All tests: --details."


def _print_certificate(out: Printer, certificate: Any) -> None:
    """Print the certificate: with messages in a column on a wide terminal, else as the plain table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout)
    if not console.is_terminal or console.width < _WIDE_TERMINAL:
        out.print(str(certificate))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("test", "value", "bound", "result", ""):
        table.add_column(name, justify="right" if name in ("value", "bound") else "left", no_wrap=bool(name))
    for row in certificate.rows:
        numbers = [Text("-" if number is None else f"{number:.3g}") for number in (row.value, row.bound)]
        message = Text(plain(row.message))
        if row.fix:
            message.append(f"\n{plain(row.fix)}", style="italic")
        table.add_row(Text(plain(row.name)), *numbers, Text(_RESULTS[row.ok], style=_STYLES[row.ok]), message)
    console.print(table)
    console.print(Text(plain(certificate.verdict), style=_STYLES[certificate.ok]))


def _describe_notes(notes: dict[str, Any]) -> list[str]:
    """Lines on the fit of the model, from the notes in its file."""
    from pushforward.cli.model_file import number_in

    lines = []
    score, baseline = (number_in(notes, name) for name in ("held_out_nats", "gaussian_nats"))
    test_rows, tied_columns = notes.get("held_out"), notes.get("repeating")
    if isinstance(tied_columns, list) and tied_columns:
        columns = ", ".join(map(repr, tied_columns))
        lines.append(f"Values repeat in {columns}, where scores have no bound: log-likelihoods are no measure there.")
    if score is not None:
        comparison = "" if baseline is None else f" (a Gaussian: {baseline:.3f})"
        lines.append(f"Its score then: {score:.3f} nats a row on {test_rows or 'held-out rows'}{comparison}.")
    return [*lines, "", "Give a table to test it on rows: pushforward check MODEL TABLE."]
