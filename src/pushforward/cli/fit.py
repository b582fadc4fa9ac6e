"""`pushforward fit`: fits a flow to a table or to a folder of pictures, and writes a model file."""

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
    Units,
    describe_columns,
    drop_none,
    find_recipe,
    join_option,
    parse_declarations,
    parse_row_options,
    parse_time,
)
from pushforward.cli.outputs import check_outputs, versions, writing
from pushforward.cli.printer import (
    Printer,
    describe_copies,
    describe_training,
    format_score,
    print_verdict,
    strict_json,
)

_RANGE_SAMPLES = 4000


def fit(
    data: Annotated[
        Path, typer.Argument(help="CSV, TSV, Parquet, Arrow, NPY, NPZ; or a folder of PNG or JPEG.", show_default=False)
    ],
    columns: Annotated[str | None, typer.Option(help="Columns to model, a,b,c; all others by default.")] = None,
    context: Annotated[str | None, typer.Option(help="Columns to condition on, not modelled.")] = None,
    exclude: Exclude = None,
    flow: Annotated[
        str | None,
        typer.Option(
            help="Recipe: nsf, real_nvp, nice and more; a wrong name lists all.", show_default="nsf; glow for a folder"
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="mixture: start from a mixture of normals, for few rows and many clusters.")
    ] = None,
    column: Columns = None,
    plain: Plain = False,
    unit: Units = None,
    groups: Groups = None,
    split_by: SplitBy = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Model file to write.")] = Path("model.safetensors"),
    report: Annotated[Path | None, typer.Option(help="HTML report to write.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the rows; by default it depends on their number.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Time for training, such as 90s, 20m or 1.5h; at most 300 passes.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Rows in a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of the cosine schedule.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Layers of the flow.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Hidden units of its networks.")] = None,
    drop_na: DropNA = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit a flow to a table: hold out a tenth of the rows for a test, train on the rest, write the model.

    Test rows are drawn at random; --groups keeps related rows together, --split time:COLUMN tests on the latest rows.

    A folder of PNG or JPEG files of one size is fitted by a flow of images, and scored in bits per dimension.
    """
    out = Printer(json, quiet)
    check_outputs(overwrite, output, report, inputs=(data,))
    if learning_rate is not None and not 0 < learning_rate < float("inf"):
        raise typer.BadParameter(f"expected a number above 0, got {learning_rate}.", param_hint="--learning-rate")
    if data.is_dir():
        table_options = (("--columns", columns), ("--context", context), ("--column", column), ("--unit", unit))
        table_options += (("--groups", groups), ("--split", split_by), ("--exclude", exclude))
        for option, value in (*table_options, ("--base", base), ("--plain", plain), ("--drop-na", drop_na)):
            if value:
                raise typer.BadParameter(f"{data} is a folder of pictures, which has no columns.", param_hint=option)
    if base not in (None, "mixture"):
        raise typer.BadParameter(f"expected mixture, or no such option, got {base!r}.", param_hint="--base")
    selected = parse_row_options(columns, context, exclude, groups, split_by)
    recipe, settings = find_recipe(flow, data, n_layers=layers, width=width)
    training = drop_none(
        batch_size=batch_size, max_epochs=epochs, max_seconds=parse_time(time), learning_rate=learning_rate
    )
    if data.is_dir():
        from pushforward.cli.fit_images import fit_images

        fit_images(out, data, recipe, settings, training, output, report, seed, overwrite)
        return
    import numpy as np

    from pushforward.cli.schema_table import print_schema
    from pushforward.cli.table_split import leaderboard, read_split
    from pushforward.core.named_rows import NamedRows
    from pushforward.diagnostics import check
    from pushforward.errors import DataError, ShapeError
    from pushforward.persistence import save
    from pushforward.recipes import RECIPES
    from pushforward.reporting.text import describe_gain
    from pushforward.tabular.schema import Range, fit_columns, out_of_range

    split = read_split(
        data, drop_na=drop_na, seed=seed, declared=parse_declarations(column), detect=not plain,
        units=parse_declarations(unit, "--unit"), **selected,
    )  # fmt: skip
    schema, context_dim = split.schema, len(split.context_columns) or None
    out.print(f"{data}: {split.n_rows:,} rows of {describe_columns(split.columns, split.context_columns)}")
    out.print_left_out(split.dropped)
    print_schema(out, schema)
    out.print(f"fitting {recipe} to {len(split.train):,} rows" + _describe_test(split))
    try:
        model, history = fit_columns(
            schema, lambda dim: RECIPES[recipe](dim, key=seed, context_dim=context_dim, **settings),
            key=seed, base=base, progress=out.prints_text, **split.fit_arguments(), **training,
        )  # fmt: skip
    except (DataError, ShapeError) as error:
        raise DataError(f"{data}: {error}") from error
    if history.stop_reason == "interrupted" and not history.train:
        raise KeyboardInterrupt
    out.print(describe_training(history))
    if history.n_validation_copies:
        without = history.validation_without_copies
        out.print(describe_copies("validation rows", history.n_validation_copies, history.n_validation, without))
    modelled = split.without_constants()
    with out.stage(f"scoring {len(split.test):,} rows"):
        rows = leaderboard(recipe, split, model, history)
        row = rows[0]
    with out.stage("testing the model (certificate)"):
        certificate = check(
            model, NamedRows(modelled.test, modelled.columns, modelled.test_rows), key=seed, context=split.test_context,
            train=modelled.train if split.is_held_out else None,
            train_context=split.train_context if split.is_held_out else None,
        )  # fmt: skip
    training_range = Range.of(modelled.columns, modelled.train, modelled.test)
    with out.stage("drawing samples"):
        chosen_columns = schema.modelled_columns
        out_of_range_columns = out_of_range(
            chosen_columns, range_samples(model, seed, split.train_context), training_range
        )
    repeating = schema.repeated_values(modelled.train)
    no_gain = _why_no_gain(split, modelled, repeating)
    notes = {
        "columns": list(split.columns),
        "context_columns": list(split.context_columns),
        "units": [column.unit for column in schema.columns],
        "plan": schema.to_dict(),
        "is_bound": schema.is_rounded,
        "recipe": recipe,
        "base": base or "normal",
        "settings": settings,
        "training": training,
        "seed": seed,
        "source": data.name,
        "rows": split.n_rows,
        "dropped": split.dropped,
        "split": split.rule,
        "held_out_nats": strict_json(row.test_log_likelihood),
        "held_out": row.setting,
        "gaussian_nats": rows[1].test_log_likelihood,
        "gain_error": row.gain_error,
        "repeating": list(repeating),
        "seen": training_range.to_dict(),
        "whole_columns": _large_integer_columns(chosen_columns, modelled),
        "context_seen": None if split.train_context is None else Range.of(
            split.context_columns, split.train_context, np.asarray(split.test_context)
        ).to_dict(),
        "outside_range": {name: share for name, (share, _) in out_of_range_columns.items()},
        "validation_nats": strict_json(history.best_validation),
        **_without_copies(split, row, history),
        "stop_reason": history.stop_reason,
        "certificate": certificate.to_dict(),
        "versions": versions(),
    }  # fmt: skip
    with out.stage(f"writing {output}"):
        save(output, model, notes=notes, overwrite=overwrite)
    if report is not None:
        from pushforward.cli.pages import fit_report

        with writing(report), out.stage(f"writing {report}"):
            fit_report(
                report, data, model, history, rows, modelled, seed, overwrite, certificate=certificate,
                schema=schema.columns, no_gain=no_gain,
                remarks=[message for _, message in out_of_range_columns.values()],
                extent=(training_range.low, training_range.high),
            )  # fmt: skip
    print_verdict(out, certificate)
    gain = row.test_log_likelihood - rows[1].test_log_likelihood
    out.print(no_gain or describe_gain(gain, row.gain_error, n_rows=len(split.test) if split.is_held_out else None))
    for _, message in out_of_range_columns.values():
        out.print(message)
    out.table(
        ["model", "scored on", "score (nats/row)"],
        [[line.name, line.setting, format_score(line.test_log_likelihood, line.standard_error)] for line in rows],
        left=2,
    )
    if n_copies := int(split.is_copy.sum()):
        out.print(describe_copies("test rows", n_copies, len(split.test), row.without_copies))
    if schema.is_rounded:
        out.print("Rounded columns count with their masses, of which the flow's scores are lower bounds.")
    out.print(f"wrote {output}" + (f" and {report}" if report else ""))
    out.print("next:")
    given = join_option([f"{name}=..." for name in split.context_columns])
    sample = ["sample", str(output), "-n", "1000", "-o", "samples.csv", *(("--given", given) if given else ())]
    for command in (["score", str(output), "NEW.csv", "-o", "scores.csv"], sample):
        out.print("  " + shlex.join(["pushforward", *command]))
    out.result({
        **notes, "model": str(output), "report": None if report is None else str(report),
        "epochs": len(history.train), "fit_seconds": row.fit_seconds, "score_seconds": row.score_seconds,
    })  # fmt: skip


def _without_copies(split: Any, row: Any, history: Any) -> dict[str, Any]:
    """Notes on copies of training rows among test and validation rows, and the log-likelihood of the other rows."""
    entries: dict[str, Any] = {}
    if split.is_copy.any():
        entries |= {"held_out_copies": int(split.is_copy.sum()), "held_out_nats_without_copies": row.without_copies}
    if history.n_validation_copies:
        entries["validation_copies"] = history.n_validation_copies
        entries["validation_nats_without_copies"] = strict_json(history.validation_without_copies)
    return entries


def _describe_test(split: Any) -> str:
    if split.is_held_out:
        return f"; {len(split.test):,} rows are held out for the test ({split.rule})"
    return "; too few to hold out a test"


def range_samples(model: Any, seed: int, context: Any = None) -> Any:
    """Samples (n, columns) that show the range of a model, at the contexts of random rows if there are any."""
    import numpy as np

    from pushforward.core.float64 import sample_float64

    if context is None:
        return sample_float64(model, _RANGE_SAMPLES, seed)
    indices = np.random.default_rng(seed).choice(len(context), _RANGE_SAMPLES)
    return sample_float64(model, (), seed, np.asarray(context)[indices])


def _large_integer_columns(columns: Any, modelled: Any) -> list[str]:
    """Names of integer columns too large to be modelled as discrete: their samples are rounded when written."""
    return [
        column.name
        for index, column in enumerate(columns)
        if not column.is_rounded and all((rows[:, index] % 1 == 0).all() for rows in (modelled.train, modelled.test))
    ]


def _why_no_gain(split: Any, modelled: Any, repeating: Any) -> str:
    """Why the difference of two scores is no gain: repeated values, or training rows; "" if it is a gain."""
    if repeating:
        suggestions = [
            f"column {name!r} ({repeats.describe()}): "
            f"{repeats.suggestion(name, float(modelled.train[:, modelled.columns.index(name)].min()))}"
            for name, repeats in repeating.items()
        ]
        return (
            "No gain over a Gaussian is claimed, since values repeat: a density has no bound there, its likelihood is "
            f"no measure, and no sample has exactly such a value. {'; '.join(suggestions)}."
        )
    if not split.is_held_out:
        return (
            "These rows were used in training, which favours the flow: no gain over a Gaussian is claimed. "
            "pushforward compare tests on rows that training has not used."
        )
    return ""
