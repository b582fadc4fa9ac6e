"""`pushforward fit`: a table or a folder of pictures in, a model file out."""

import inspect
import math
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
    check_excluded,
    check_one_cut,
    declarations,
    listed,
    names,
    time_column,
    told_given,
)
from pushforward.cli.outputs import check_outputs, writing
from pushforward.cli.printer import Printer, copies, course, nats

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
        int | None, typer.Option(min=1, help="Passes over the rows; from their number by default.")
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

    Rows are drawn at random, each by itself; --groups keeps related rows together, --split time:COLUMN tests on the
    latest.

    A folder of PNG or JPEG files of one size is fitted by a flow of images, and scored in bits per dimension.
    """
    out = Printer(json, quiet)
    check_outputs(overwrite, output, report, inputs=(data,))
    if learning_rate is not None and not 0 < learning_rate < float("inf"):
        raise typer.BadParameter(f"expected a number above 0, got {learning_rate}.", param_hint="--learning-rate")
    if data.is_dir():
        given = (("--columns", columns), ("--context", context), ("--column", column), ("--unit", unit))
        given += (("--groups", groups), ("--split", split_by), ("--exclude", exclude))
        for option, value in (*given, ("--base", base), ("--plain", plain), ("--drop-na", drop_na)):
            if value:
                raise typer.BadParameter(f"{data} is a folder of pictures, which has no columns.", param_hint=option)
    if base not in (None, "mixture"):
        raise typer.BadParameter(f"expected mixture, or no such option, got {base!r}.", param_hint="--base")
    check_one_cut(groups, split_by)
    check_excluded(names(exclude), names(columns), names(context))
    time = time_column(split_by)
    recipe, settings = recipe_named(flow, data, n_layers=layers, width=width)
    training = chosen(batch_size=batch_size, max_epochs=epochs, learning_rate=learning_rate)
    if data.is_dir():
        from pushforward.cli.fit_images import fit_images

        fit_images(out, data, recipe, settings, training, output, report, seed, overwrite)
        return
    import numpy as np

    from pushforward.cli.schema_table import print_schema
    from pushforward.cli.scoring import versions
    from pushforward.cli.table_split import leaderboard, read_split
    from pushforward.core.named_rows import NamedRows
    from pushforward.diagnostics import check
    from pushforward.errors import DataError, ShapeError
    from pushforward.persistence import save
    from pushforward.recipes import RECIPES
    from pushforward.tabular.schema import Range, fit_columns, out_of_range

    split = read_split(
        data, names(columns), names(context), drop_na, seed, declared=declarations(column), detect=not plain,
        units=declarations(unit, "--unit"), groups=groups, time=time, exclude=names(exclude),
    )  # fmt: skip
    schema, context_dim = split.schema, len(split.context_columns) or None
    out.say(f"{data}: {split.n_rows:,} rows of {told_given(split.columns, split.context_columns)}")
    print_schema(out, schema)
    out.say(f"fitting {recipe} to {len(split.train):,} rows" + _tested(split))
    try:
        model, history = fit_columns(
            schema, lambda dim: RECIPES[recipe](dim, key=seed, context_dim=context_dim, **settings),
            key=seed, base=base, progress=out.talks, **split.training(), **training,
        )  # fmt: skip
    except (DataError, ShapeError) as error:
        raise DataError(f"{data}: {error}") from error
    if history.stop_reason == "interrupted" and not history.train:
        raise KeyboardInterrupt
    out.say(course(history))
    if history.n_validation_copies:
        without = history.validation_without_copies
        out.say(copies("validation rows", history.n_validation_copies, history.n_validation, without))
    shown = split.modelled()
    with out.stage(f"scoring {len(split.test):,} rows"):
        rows = leaderboard(recipe, split, model, history)
        row = rows[0]
    with out.stage("testing the model (certificate)"):
        certificate = check(
            model, NamedRows(shown.test, shown.columns, shown.test_rows), key=seed, context=split.test_context,
            train=shown.train if split.is_held_out else None,
            train_context=split.train_context if split.is_held_out else None,
        )  # fmt: skip
    seen = Range.of(shown.columns, shown.train, shown.test)
    with out.stage("drawing samples"):
        chosen_columns = [schema.columns[place] for place in schema.modelled_indices]
        outside = out_of_range(chosen_columns, range_samples(model, seed, split.train_context), seen)
    repeating = schema.repeated_values(shown.train)
    no_gain = _why_no_gain(split, shown, repeating)
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
        "split": split.rule,
        "held_out_nats": row.test_log_likelihood if math.isfinite(row.test_log_likelihood) else None,
        "held_out": row.setting,
        "gaussian_log_likelihood": rows[1].test_log_likelihood,
        "gain_error": row.gain_error,
        "repeating": list(repeating),
        "seen": seen.to_dict(),
        "whole_columns": _large_whole(chosen_columns, shown),
        "context_seen": None if split.train_context is None else Range.of(
            split.context_columns, split.train_context, np.asarray(split.test_context)
        ).to_dict(),
        "outside_range": {name: share for name, (share, _) in outside.items()},
        "validation_log_likelihood": history.best_validation if math.isfinite(history.best_validation) else None,
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
                report, data, model, history, rows, shown, seed, overwrite, certificate=certificate,
                schema=schema.columns, no_gain=no_gain, remarks=[sentence for _, sentence in outside.values()],
            )  # fmt: skip
    out.table(
        ["model", "scored on", "log-likelihood (nats/row)"],
        [[line.name, line.setting, nats(line.test_log_likelihood, line.standard_error)] for line in rows],
        left=2,
    )
    if n_copies := int(split.is_copy.sum()):
        out.say(copies("test rows", n_copies, len(split.test), row.without_copies))
    if schema.is_rounded:
        out.say("Discretised columns count with their masses, of which the flow's scores are lower bounds.")
    out.say(no_gain or gain_words(row.test_log_likelihood - rows[1].test_log_likelihood, row.gain_error))
    for _, sentence in outside.values():
        out.say(sentence)
    _health(out, certificate)
    out.say(f"wrote {output}" + (f" and {report}" if report else ""))
    out.say("next:")
    given = listed([f"{name}=..." for name in split.context_columns])
    sample = ["sample", str(output), "-n", "1000", "-o", "samples.csv", *(("--given", given) if given else ())]
    for words in (["score", str(output), "NEW.csv", "-o", "scores.csv"], sample):
        out.say("  " + shlex.join(["pushforward", *words]))
    out.result({
        **notes, "model": str(output), "report": None if report is None else str(report),
        "epochs": len(history.train), "fit_seconds": row.fit_seconds, "score_seconds": row.score_seconds,
    })  # fmt: skip


def recipe_named(flow: str | None, data: Path, **options: int | None) -> tuple[str, dict[str, Any]]:
    """The recipe by its name, refused where it is not for such data, and those of its settings that the user gave.

    Args:
        flow: the name, or None for the default one.
        data: a folder of pictures; anything else stands for rows of a table.
        options: settings of the recipe, None where the user gave none.
    """
    from pushforward.recipes import IMAGE_RECIPES, RECIPES

    known, others = (IMAGE_RECIPES, RECIPES) if data.is_dir() else (RECIPES, IMAGE_RECIPES)
    name = flow or ("glow" if data.is_dir() else "nsf")
    if name in others:
        fault = f"tables, and {data} is a folder" if data.is_dir() else f"pictures, and {data} is no folder of them"
        raise typer.BadParameter(f"{name!r} models {fault}: use one of {', '.join(known)}.", param_hint="--flow")
    if name not in known:
        raise typer.BadParameter(f"expected one of {', '.join(known)}, got {name!r}.", param_hint="--flow")
    settings = chosen(**options)
    for setting in settings.keys() - inspect.signature(known[name]).parameters.keys():
        option = "--layers" if setting == "n_layers" else f"--{setting}"
        raise typer.BadParameter(f"the flow {name} has no such setting, got {settings[setting]}.", param_hint=option)
    return name, settings


def chosen(**options: Any) -> dict[str, Any]:
    """What the user has set; the rest keeps the library's defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _without_copies(split: Any, row: Any, history: Any) -> dict[str, Any]:
    """For the notes: copies of training rows among test and validation rows, and the nats of the others."""
    found = {}
    if split.is_copy.any():
        found |= {"held_out_copies": int(split.is_copy.sum()), "held_out_nats_without_copies": row.without_copies}
    if history.n_validation_copies:
        nats = history.validation_without_copies
        found["validation_copies"] = history.n_validation_copies
        found["validation_nats_without_copies"] = nats if math.isfinite(nats) else None
    return found


def _tested(split: Any) -> str:
    if split.is_held_out:
        return f"; {len(split.test):,} rows are kept back for the test ({split.rule})"
    return "; too few to keep a test apart"


def _health(out: Printer, certificate: Any) -> None:
    out.say(certificate.verdict)
    for row in certificate.rows:
        if row.ok is False:
            out.say(f"  {row.name}: {row.message}")


def range_samples(model: Any, seed: int, context: Any = None) -> Any:
    """Samples (n, columns) by which the range of a model is told, at the contexts of rows where there are any."""
    import numpy as np

    from pushforward.core.float64 import sample_float64

    if context is None:
        return sample_float64(model, _RANGE_SAMPLES, seed)
    chosen = np.random.default_rng(seed).choice(len(context), _RANGE_SAMPLES)
    return sample_float64(model, (), seed, np.asarray(context)[chosen])


def _large_whole(columns: Any, shown: Any) -> list[str]:
    """Names of columns of whole numbers that are no grid, for they are too large: samples are rounded when written."""
    return [
        column.name
        for place, column in enumerate(columns)
        if not column.is_rounded and all((rows[:, place] % 1 == 0).all() for rows in (shown.train, shown.test))
    ]


def _why_no_gain(split: Any, shown: Any, repeating: Any) -> str:
    """Why the difference of two scores is no gain: ties, or rows that trained the flow; "" where it is one."""
    if repeating:
        named = [
            f"column {name!r} ({repeats.describe()}): "
            f"{repeats.suggestion(name, float(shown.train[:, shown.columns.index(name)].min()))}"
            for name, repeats in repeating.items()
        ]
        return (
            "No gain over a Gaussian is claimed, for values repeat, where a density has no bound and its likelihood is "
            f"no measure, and no sample has exactly such a value. {'; '.join(named)}."
        )
    if not split.is_held_out:
        return (
            "These rows had a part in the training, which flatters the flow: no gain over a Gaussian is claimed. "
            "pushforward compare keeps rows apart."
        )
    return ""


def gain_words(gain: float, error: float | None, of: str = "The flow", over: str = "a Gaussian") -> str:
    """A gain with its standard error, that of the mean difference of the same rows' scores.

    >>> gain_words(0.5, 0.1), gain_words(0.1, 0.1)[:35]
    ('The flow gains 0.50 ± 0.10 nats per row over a Gaussian.', 'The flow is level with a Gaussian: ')
    """
    if not math.isfinite(gain) or error is None:
        return f"{of} and {over} cannot be compared: a test row has no finite score."
    from pushforward.reporting.report.words import gain_digits

    digits = gain_digits(error)
    figures = f"{abs(gain):.{digits}f} \N{PLUS-MINUS SIGN} {error:.{digits}f} nats per row"
    if abs(gain) <= 2 * error:
        more = "either the columns are nearly normal, or more rows are needed"
        side = "above" if gain > 0 else "below"
        return f"{of} is level with {over}: {figures} {side} it, within two standard errors; {more}."
    if gain > 0:
        return f"{of} gains {figures} over {over}."
    return f"{of} is {figures} behind {over}: try more --epochs, a smaller --width, or more rows."
