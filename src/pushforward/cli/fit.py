"""`pushforward fit`: a table in, a model file out."""

import inspect
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.options import Debug, DropNA, Json, Overwrite, Quiet, Seed, names
from pushforward.cli.outputs import check_outputs
from pushforward.cli.printer import Printer, nats, seconds


def fit(
    data: Annotated[Path, typer.Argument(help="CSV, TSV, Parquet, Arrow, NPY or NPZ.", show_default=False)],
    columns: Annotated[str | None, typer.Option(help="Columns to model, a,b,c; all others by default.")] = None,
    context: Annotated[str | None, typer.Option(help="Columns to condition on, not modelled.")] = None,
    flow: Annotated[str, typer.Option(help="Recipe: nsf, real_nvp, nice and more; a wrong name lists all.")] = "nsf",
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
    """Fit a flow to a table: hold out a tenth of the rows for a test, train on the rest, write the model."""
    out = Printer(json, quiet)
    check_outputs(overwrite, output, report, inputs=(data,))
    if learning_rate is not None and not 0 < learning_rate < float("inf"):
        raise typer.BadParameter(f"expected a number above 0, got {learning_rate}.", param_hint="--learning-rate")
    from pushforward.cli.held_out import leaderboard, read_split
    from pushforward.cli.scoring import versions
    from pushforward.errors import DataError, ShapeError
    from pushforward.persistence import save
    from pushforward.recipes import RECIPES
    from pushforward.train import fit as fit_flow

    if flow not in RECIPES:
        raise typer.BadParameter(f"expected one of {', '.join(RECIPES)}, got {flow!r}.", param_hint="--flow")
    settings = _chosen(n_layers=layers, width=width)
    for name in settings.keys() - inspect.signature(RECIPES[flow]).parameters.keys():
        option = "--layers" if name == "n_layers" else f"--{name}"
        raise typer.BadParameter(f"the flow {flow} has no such setting, got {settings[name]}.", param_hint=option)
    split = read_split(data, names(columns), names(context), drop_na, seed)
    training = _chosen(batch_size=batch_size, max_epochs=epochs, learning_rate=learning_rate)
    out.say(f"{data}: {split.n_rows:,} rows of {', '.join(split.columns)}" + _given(split.context_columns))
    out.say(f"fitting {flow} to {len(split.train):,} rows" + _tested(split))
    try:
        start = RECIPES[flow](len(split.columns), key=seed, context_dim=len(split.context_columns) or None, **settings)
        model, history = fit_flow(
            start, split.train_frame(), key=seed, context=split.train_context, progress=out.talks, **training
        )
    except (DataError, ShapeError) as error:
        raise DataError(f"{data}: {error}") from error
    if history.stop_reason == "interrupted" and not history.train:
        raise KeyboardInterrupt
    kept = (
        "the start is kept: no epoch was better"
        if history.best_epoch < 0
        else f"epoch {history.best_epoch + 1} is kept"
    )
    out.say(
        f"{len(history.train)} epochs in {seconds(history.seconds[-1])}, {seconds(history.compile_seconds)} of them "
        f"compiling ({history.stop_reason}); {kept}"
    )
    rows = leaderboard(flow, split, model, history)
    row = rows[0]
    notes = {
        "columns": list(split.columns),
        "context_columns": list(split.context_columns),
        "recipe": flow,
        "settings": settings,
        "training": training,
        "seed": seed,
        "source": data.name,
        "rows": split.n_rows,
        "held_out_nats": row.test_nats if math.isfinite(row.test_nats) else None,
        "held_out": row.setting,
        "gaussian_nats": rows[1].test_nats,
        "stop_reason": history.stop_reason,
        "versions": versions(),
    }
    save(output, model, notes=notes, overwrite=overwrite)
    if report is not None:
        from pushforward.cli.pages import fit_report

        fit_report(report, data, model, history, rows, split, seed, overwrite)
    out.table(
        ["model", "scored on", "log-likelihood (nats/row)"],
        [[line.name, line.setting, nats(line.test_nats, line.standard_error)] for line in rows],
        left=2,
    )
    _remark(out, row.test_nats - rows[1].test_nats, row.standard_error or 0.0)
    out.say(f"wrote {output}" + (f" and {report}" if report else ""))
    out.say("next:")
    given = " --given " + ",".join(f"{name}=..." for name in split.context_columns) if split.context_columns else ""
    out.say(f"  pushforward score {output} NEW.csv -o scores.csv")
    out.say(f"  pushforward sample {output} -n 1000 -o samples.csv{given}")
    out.result({
        **notes, "model": str(output), "report": None if report is None else str(report),
        "epochs": len(history.train), "fit_seconds": row.fit_seconds, "score_seconds": row.score_seconds,
    })  # fmt: skip


def _chosen(**options: Any) -> dict[str, Any]:
    """What the user has set; the rest keeps the library's defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _given(context_columns: tuple[str, ...]) -> str:
    return f" given {', '.join(context_columns)}" if context_columns else ""


def _tested(split: Any) -> str:
    if split.is_held_out:
        return f"; {len(split.test):,} rows are kept back for the test"
    return "; too few to keep a test apart"


def _remark(out: Printer, gain: float, error: float) -> None:
    if abs(gain) <= error:
        out.say("The flow is level with a Gaussian: either the columns are nearly normal, or more rows are needed.")
    elif gain > 0:
        out.say(f"The flow gains {gain:.2f} nats per row over a Gaussian.")
    else:
        remedy = "try more --epochs, a smaller --width, or more rows"
        out.say(f"The flow is {-gain:.2f} nats per row behind a Gaussian: {remedy}.")
