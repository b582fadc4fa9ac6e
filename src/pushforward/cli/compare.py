"""`pushforward compare`: flows and classical densities on the same table, held against each other."""

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
    check_excluded,
    check_one_cut,
    declarations,
    names,
    time_column,
    told_given,
)
from pushforward.cli.outputs import check_outputs
from pushforward.cli.printer import Printer, nats, seconds


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
            help="Parts, each of which is the test once; 1 for a single test.",
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

    In each fold one part of the rows is the test, a fifth of the others chooses, the rest trains. The margin is of the
    flows so chosen, each on its own fold's test rows. Figures are means over the folds. Folds are of random rows, each
    drawn by itself; of whole groups with --groups; with --split time:COLUMN the latest fifth is the single test.
    """
    out = Printer(json, quiet)
    check_outputs(overwrite, output, inputs=(data,))
    declared = declarations(column)
    check_one_cut(groups, split_by)
    check_excluded(names(exclude), names(columns), names(context))
    time = time_column(split_by)
    if time is not None and folds not in (None, 1):
        raise typer.BadParameter(
            f"expected 1 with --split, whose test are the latest rows, got {folds}.", param_hint="--folds"
        )
    from pushforward.cli.fit import chosen
    from pushforward.cli.schema_table import print_schema
    from pushforward.cli.scoring import versions
    from pushforward.cli.table_split import read_declared
    from pushforward.errors import DataError
    from pushforward.tabular.comparison import DEFAULT_FLOWS
    from pushforward.tabular.comparison import compare as compare_flows

    table, group, when = read_declared(
        data, names(columns), names(context), drop_na, declared, groups=groups, time=time, exclude=names(exclude)
    )
    out.say(f"{data}: {len(table.values):,} rows of {told_given(table.columns, table.context_columns)}")
    with out.course() as tell:
        try:
            board = compare_flows(
                table.values, names=table.columns, flows=names(flows) or DEFAULT_FLOWS,
                context=table.context if table.context_columns else None, columns=declared, detect=not plain,
                folds=folds, groups=group, time=when, key=seed, settings=chosen(n_layers=layers, width=width),
                training=chosen(max_epochs=epochs), report=tell,
            )  # fmt: skip
        except DataError as error:
            raise DataError(f"{data}: {error}") from error
    print_schema(out, board.schema)
    out.say(f"Log-likelihood of test rows, nats a row, mean of {board.n_folds} fold{'s' if board.n_folds > 1 else ''}")
    rule = f"by group of {groups}" if groups else f"the latest fifth is the test, by {time}" if time else ""
    if rule:
        out.say(f"Rows are split {rule}." if groups else f"Of the rows {rule}.")
    if board.is_bound:
        out.say("Discretised columns count with their masses: all models by bounds, over the same points.")
    _table(out, board)
    _copies(out, board)
    repeating = board.schema.repeated_values(table.values[:, board.schema.modelled_indices])
    _in_words(out, board, repeating)
    out.say("next:")
    recipe, _, base = board.chosen.partition("+")
    words = ["pushforward", "fit", str(data), "--flow", recipe, *(("--base", base) if base else ())]
    same = {"columns": columns, "context": context, "epochs": epochs, "layers": layers, "width": width, "seed": seed}
    same |= {"groups": groups, "split": split_by, "exclude": exclude}
    for option, value in (*same.items(), *(("column", one) for one in column or ())):
        words += [f"--{option}", str(value)] if value else []
    out.say("  " + shlex.join([*words, *(("--plain",) if plain else ()), *(("--drop-na",) if drop_na else ())]))
    result = board.to_dict() | {
        "source": data.name, "seed": seed, "repeating": list(repeating),
        "split": rule or "rows at random", "versions": versions(),
    }  # fmt: skip
    if output is not None:
        from pushforward.cli.outputs import write_json

        write_json(output, result, overwrite)
        out.say(f"wrote {output}")
    out.result(result)


def _table(out: Printer, board: Any) -> None:
    lines = []
    for entry in board.entries:
        mark = "*" if entry.name == board.chosen else ""
        memory = "-" if entry.peak_megabytes is None else f"{entry.peak_megabytes:,.0f} MB"
        size = "-" if entry.parameters is None else f"{entry.parameters:,}"
        lines.append([
            entry.name + mark, nats(entry.validation_log_likelihood),
            nats(entry.test_log_likelihood, entry.standard_error),
            seconds(entry.fit_seconds), seconds(entry.score_seconds), seconds(entry.sample_seconds), memory, size,
        ])  # fmt: skip
    out.table(["model", "validation", "test", "fit", "score", "sample", "peak", "parameters"], lines)
    out.say("* best of the flows on the validation rows; sample: 1,000 rows; peak: memory of the whole process")


def _copies(out: Printer, board: Any) -> None:
    """What models score on test rows that have no equal row outside the test, where some have one."""
    entry = board.entry(board.chosen)
    if not entry.n_test_copies:
        return
    n = f"{entry.n_test_copies:,}"
    if entry.test_log_likelihood_without_copies is None:
        out.say("Every test row equals one on which its fold's models were trained or chosen.")
        return
    others = ", ".join(f"{line.name} {nats(line.test_log_likelihood_without_copies)}" for line in board.entries)
    out.say(f"{n} test rows equal one on which their fold's models were trained or chosen; without them: {others}.")


def _in_words(out: Printer, board: Any, repeating: Any) -> None:
    from pushforward.cli.fit import gain_words

    name = board.chosen if set(board.picks) == {board.chosen} else "The flow that validation chooses in each fold"
    if set(board.picks) != {board.chosen}:
        out.say(
            f"chosen fold by fold: {', '.join(board.picks)}: {nats(board.chosen_log_likelihood)} on their test rows"
        )
    if repeating:
        named = ", ".join(f"{column!r} ({repeats.describe()})" for column, repeats in repeating.items())
        out.say(
            f"No gain is claimed, for values repeat in {named}: a density has no bound there, and its likelihood is no "
            "measure. Declare such columns, see the note, or leave them out with --exclude."
        )
        return
    out.say(
        gain_words(board.margin, board.margin_error, name, f"{board.rival.name}, the better of Gaussian and mixture")
    )
