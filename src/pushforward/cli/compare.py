"""`pushforward compare`: flows and classical densities on the same table."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.options import (
    Columns,
    Debug,
    DropNA,
    Exclude,
    Groups,
    Json,
    Overwrite,
    Plain,
    Quiet,
    Seed,
    SplitBy,
    describe_columns,
    drop_none,
    parse_declarations,
    parse_row_options,
    split_names,
)
from pushforward.cli.outputs import check_outputs, versions, write_json
from pushforward.cli.printer import Printer, format_score, format_seconds


def compare(
    data: Annotated[Path, typer.Argument(help="CSV, TSV, Parquet, Arrow, NPY, NPZ.", show_default=False)],
    flows: Annotated[
        str | None,
        typer.Option(
            help="Recipes, a,b,c; NAME+mixture starts from a mixture of normals.", show_default="nsf,maf,nsf+mixture"
        ),
    ] = None,
    columns: Annotated[str | None, typer.Option(help="Columns to model, a,b,c; all others by default.")] = None,
    context: Annotated[str | None, typer.Option(help="Columns to condition on, not modelled.")] = None,
    exclude: Exclude = None,
    column: Columns = None,
    plain: Plain = False,
    groups: Groups = None,
    split_by: SplitBy = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of folds, each of which is the test once; 1 for a single test.",
            show_default="5; 1 with --split time:COLUMN",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the rows, at most.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Layers of the flows.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Hidden units of their networks.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file to write the result to.")] = None,
    drop_na: DropNA = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit flows, a Gaussian, a Gaussian mixture and a kernel density to the same rows; choose a flow on validation.

    In each fold one part of the rows is the test, a fifth of the others is for validation, the rest for training. The
    margin compares the flows chosen on validation, each on the test rows of its fold. Figures are means over folds.
    Folds consist of random rows, or of whole groups with --groups; with --split time:COLUMN the latest fifth is the
    only test.
    """
    out = Printer(json, quiet)
    check_outputs(overwrite, output, inputs=(data,))
    declared = parse_declarations(column)
    selected = parse_row_options(columns, context, exclude, groups, split_by)
    if (time := selected["time"]) is not None and folds not in (None, 1):
        raise typer.BadParameter(
            f"expected 1 with --split, where the latest rows are the test, got {folds}.", param_hint="--folds"
        )
    from pushforward.cli.schema_table import print_schema
    from pushforward.cli.table_split import read_declared
    from pushforward.errors import DataError
    from pushforward.tabular.comparison import DEFAULT_FLOWS
    from pushforward.tabular.comparison import compare as compare_flows

    table, group_of_row, times = read_declared(data, drop_na=drop_na, declared=declared, **selected)
    out.print(f"{data}: {len(table.values):,} rows of {describe_columns(table.columns, table.context_columns)}")
    out.print_left_out(table.dropped)
    with out.progress() as show:
        try:
            board = compare_flows(
                table.values, names=table.columns, flows=split_names(flows) or DEFAULT_FLOWS,
                context=table.context if table.context_columns else None, columns=declared, detect=not plain,
                folds=folds, groups=group_of_row, time=times, key=seed, report=show,
                settings=drop_none(n_layers=layers, width=width), training=drop_none(max_epochs=epochs),
            )  # fmt: skip
        except DataError as error:
            raise DataError(f"{data}: {error}") from error
    print_schema(out, board.schema)
    repeating = board.schema.repeated_values(table.values[:, board.schema.modelled_indices])
    _print_margin(out, board, repeating)
    mean_of = f"mean of {board.n_folds} fold{'s' if board.n_folds > 1 else ''}"
    out.print(f"Scores of test rows (log-likelihood, nats a row; higher is better), {mean_of}")
    rule = f"by group of {groups}" if groups else f"the latest fifth is the test, by {time}" if time else ""
    if rule:
        out.print(f"Rows are split {rule}." if groups else f"Of the rows {rule}.")
    if board.is_bound:
        out.print("Rounded columns count with their masses: all models by bounds, over the same points.")
    _print_entries(out, board)
    _print_copies(out, board)
    out.print("next:")
    recipe, _, base = board.chosen.partition("+")
    command = ["pushforward", "fit", str(data), "--flow", recipe, *(("--base", base) if base else ())]
    options = {"columns": columns, "context": context, "epochs": epochs, "layers": layers, "width": width, "seed": seed}
    options |= {"groups": groups, "split": split_by, "exclude": exclude}
    for option, value in (*options.items(), *(("column", declaration) for declaration in column or ())):
        command += [f"--{option}", str(value)] if value else []
    out.print("  " + shlex.join([*command, *(("--plain",) if plain else ()), *(("--drop-na",) if drop_na else ())]))
    result = board.to_dict() | {
        "source": data.name, "seed": seed, "repeating": list(repeating),
        "split": rule or "rows at random", "versions": versions(),
    }  # fmt: skip
    if output is not None:
        write_json(output, result, overwrite)
        out.print(f"wrote {output}")
    out.result(result)


def _print_entries(out: Printer, board: Any) -> None:
    lines = []
    for entry in board.entries:
        mark = "*" if entry.name == board.chosen else ""
        memory = "-" if entry.peak_megabytes is None else f"{entry.peak_megabytes:,.0f} MB"
        size = "-" if entry.parameters is None else f"{entry.parameters:,}"
        lines.append([
            entry.name + mark, format_score(entry.validation_log_likelihood),
            format_score(entry.test_log_likelihood, entry.standard_error),
            format_seconds(entry.fit_seconds), format_seconds(entry.score_seconds),
            format_seconds(entry.sample_seconds), memory, size,
        ])  # fmt: skip
    out.table(["model", "validation", "test", "fit", "score", "sample", "peak", "parameters"], lines)
    out.print("* best of the flows on the validation rows; sample: 1,000 rows; peak: memory of the whole process")


def _print_copies(out: Printer, board: Any) -> None:
    """Print the scores on test rows that equal no other row, if some test rows equal one."""
    entry = board.entry(board.chosen)
    if not entry.n_test_copies:
        return
    n = f"{entry.n_test_copies:,}"
    if entry.test_log_likelihood_without_copies is None:
        out.print("Every test row equals a training or validation row of its fold.")
        return
    others = ", ".join(f"{line.name} {format_score(line.test_log_likelihood_without_copies)}" for line in board.entries)
    out.print(f"{n} test rows equal a training or validation row of their fold; without them: {others}.")


def _print_margin(out: Printer, board: Any, repeating: Any) -> None:
    """Print the gain of the chosen flow over the better baseline, or why there is none."""
    name = board.chosen if set(board.picks) == {board.chosen} else "The flow chosen on validation in each fold"
    if set(board.picks) != {board.chosen}:
        score = format_score(board.chosen_log_likelihood)
        out.print(f"chosen fold by fold: {', '.join(board.picks)}: {score} on their test rows")
    if repeating:
        columns = ", ".join(f"{column!r} ({repeats.describe()})" for column, repeats in repeating.items())
        out.print(
            f"No gain is claimed, since values repeat in {columns}: a density has no bound there, and its "
            "likelihood is no measure. Declare such columns, see the note, or leave them out with --exclude."
        )
        return
    from pushforward.reporting.text import describe_gain

    out.print(
        describe_gain(board.margin, board.margin_error, name, f"{board.rival.name}, the better of Gaussian and mixture")
    )
