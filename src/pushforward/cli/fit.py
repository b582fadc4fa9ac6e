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
    Json,
    Overwrite,
    Plain,
    Quiet,
    Seed,
    Units,
    declarations,
    listed,
    names,
    told_given,
)
from pushforward.cli.outputs import check_outputs, writing
from pushforward.cli.printer import Printer, course, nats


def fit(
    data: Annotated[
        Path, typer.Argument(help="CSV, TSV, Parquet, Arrow, NPY, NPZ; or a folder of PNG or JPEG.", show_default=False)
    ],
    columns: Annotated[str | None, typer.Option(help="Columns to model, a,b,c; all others by default.")] = None,
    context: Annotated[str | None, typer.Option(help="Columns to condition on, not modelled.")] = None,
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

    A folder of PNG or JPEG files of one size is fitted by a flow of images, and scored in bits per dimension.
    """
    out = Printer(json, quiet)
    check_outputs(overwrite, output, report, inputs=(data,))
    if learning_rate is not None and not 0 < learning_rate < float("inf"):
        raise typer.BadParameter(f"expected a number above 0, got {learning_rate}.", param_hint="--learning-rate")
    if data.is_dir():
        given = (("--columns", columns), ("--context", context), ("--column", column), ("--unit", unit))
        for option, value in (*given, ("--base", base), ("--plain", plain), ("--drop-na", drop_na)):
            if value:
                raise typer.BadParameter(f"{data} is a folder of pictures, which has no columns.", param_hint=option)
    if base not in (None, "mixture"):
        raise typer.BadParameter(f"expected mixture, or no such option, got {base!r}.", param_hint="--base")
    recipe, settings = recipe_named(flow, data, n_layers=layers, width=width)
    training = chosen(batch_size=batch_size, max_epochs=epochs, learning_rate=learning_rate)
    if data.is_dir():
        from pushforward.cli.fit_images import fit_images

        fit_images(out, data, recipe, settings, training, output, report, seed, overwrite)
        return
    from pushforward.cli.held_out import leaderboard, read_split
    from pushforward.cli.plan_table import say_plan
    from pushforward.cli.scoring import versions
    from pushforward.columns import fit_columns
    from pushforward.diagnostics import check
    from pushforward.errors import DataError, ShapeError
    from pushforward.named_rows import NamedRows
    from pushforward.persistence import save
    from pushforward.recipes import RECIPES

    split = read_split(
        data, names(columns), names(context), drop_na, seed, declared=declarations(column), detect=not plain,
        units=declarations(unit, "--unit"),
    )  # fmt: skip
    plan, context_dim = split.plan, len(split.context_columns) or None
    out.say(f"{data}: {split.n_rows:,} rows of {told_given(split.columns, split.context_columns)}")
    say_plan(out, plan)
    given = None if context_dim is None else NamedRows(split.train_context, split.context_columns)
    out.say(f"fitting {recipe} to {len(split.train):,} rows" + _tested(split))
    try:
        model, history = fit_columns(
            plan, lambda dim: RECIPES[recipe](dim, key=seed, context_dim=context_dim, **settings), split.train,
            key=seed, context=given, base=base, progress=out.talks, **training,
        )  # fmt: skip
    except (DataError, ShapeError) as error:
        raise DataError(f"{data}: {error}") from error
    if history.stop_reason == "interrupted" and not history.train:
        raise KeyboardInterrupt
    out.say(course(history))
    rows = leaderboard(recipe, split, model, history)
    row = rows[0]
    shown = split.modelled()
    certificate = check(
        model, NamedRows(shown.test, shown.columns, shown.test_rows), key=seed, context=split.test_context,
        train=shown.train if split.is_held_out else None,
        train_context=split.train_context if split.is_held_out else None,
    )  # fmt: skip
    notes = {
        "columns": list(split.columns),
        "context_columns": list(split.context_columns),
        "units": [column.unit for column in plan.columns],
        "plan": plan.to_dict(),
        "is_bound": plan.is_rounded,
        "recipe": recipe,
        "base": base or "normal",
        "settings": settings,
        "training": training,
        "seed": seed,
        "source": data.name,
        "rows": split.n_rows,
        "held_out_nats": row.test_nats if math.isfinite(row.test_nats) else None,
        "held_out": row.setting,
        "gaussian_nats": rows[1].test_nats,
        "validation_nats": history.best_validation if math.isfinite(history.best_validation) else None,
        "stop_reason": history.stop_reason,
        "certificate": certificate.to_dict(),
        "versions": versions(),
    }
    save(output, model, notes=notes, overwrite=overwrite)
    if report is not None:
        from pushforward.cli.pages import fit_report

        with writing(report):
            fit_report(
                report, data, model, history, rows, shown, seed, overwrite, certificate=certificate, plan=plan.columns
            )
    out.table(
        ["model", "scored on", "log-likelihood (nats/row)"],
        [[line.name, line.setting, nats(line.test_nats, line.standard_error)] for line in rows],
        left=2,
    )
    if plan.is_rounded:
        out.say("Rounded columns count with their masses, of which the flow's scores are lower bounds.")
    _remark(out, row.test_nats - rows[1].test_nats, row.standard_error or 0.0)
    if not split.is_held_out:
        out.say("These rows had a part in the training, which flatters the flow; pushforward compare keeps them apart.")
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


def _tested(split: Any) -> str:
    if split.is_held_out:
        return f"; {len(split.test):,} rows are kept back for the test"
    return "; too few to keep a test apart"


def _health(out: Printer, certificate: Any) -> None:
    out.say(certificate.verdict)
    for row in certificate.rows:
        if row.ok is False:
            out.say(f"  {row.name}: {row.sentence}")


def _remark(out: Printer, gain: float, error: float) -> None:
    if abs(gain) <= error:
        out.say("The flow is level with a Gaussian: either the columns are nearly normal, or more rows are needed.")
    elif gain > 0:
        out.say(f"The flow gains {gain:.2f} nats per row over a Gaussian.")
    else:
        remedy = "try more --epochs, a smaller --width, or more rows"
        out.say(f"The flow is {-gain:.2f} nats per row behind a Gaussian: {remedy}.")
