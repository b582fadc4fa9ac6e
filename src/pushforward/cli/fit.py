"""`pushforward fit`: a table in, a model file out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.options import Debug, Json, Overwrite, Printer, Quiet, Seed, check_outputs, names, nats, seconds

_FEWEST_TEST_ROWS = 20


def fit(
    data: Annotated[Path, typer.Argument(help="CSV, TSV, Parquet, Arrow, NPY or NPZ.", show_default=False)],
    columns: Annotated[str | None, typer.Option(help="Columns to model, a,b,c; all others by default.")] = None,
    context: Annotated[str | None, typer.Option(help="Columns to condition on, not modelled.")] = None,
    flow: Annotated[str, typer.Option(help="Recipe: nsf, real_nvp, nice, elementwise_flow, coupling_flow.")] = "nsf",
    output: Annotated[Path, typer.Option("-o", "--output", help="Model file to write.")] = Path("model.safetensors"),
    report: Annotated[Path | None, typer.Option(help="HTML report to write.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the rows; chosen by default.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Rows a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of the cosine schedule.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Layers of the flow.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Hidden units of its networks.")] = None,
    drop_na: Annotated[bool, typer.Option("--drop-na", help="Leave out rows with missing cells.")] = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit a flow to a table: hold out a tenth for testing, train on the rest, write the model."""
    check_outputs(overwrite, output, report)
    out = Printer(json, quiet)
    from pushforward.tables import check_columns, read_table

    table = read_table(data, columns=names(columns), context=names(context), drop_na=drop_na)
    check_columns(table)
    import numpy as np

    from pushforward.cli.options import check_recipe
    from pushforward.cli.scoring import Row, leaderboard_row
    from pushforward.errors import DataError
    from pushforward.persistence import save
    from pushforward.recipes import RECIPES
    from pushforward.train import fit as fit_flow

    check_recipe(flow, RECIPES)
    x, given = table.values, table.context if table.context_columns else None
    if len(x) < 2:
        raise DataError(f"{data}: expected at least 2 rows to fit, got {len(x)}.")
    order = np.random.default_rng(seed).permutation(len(x))
    n_test = len(x) // 10 if len(x) >= 10 * _FEWEST_TEST_ROWS else 0
    train, test = order[n_test:], order[:n_test]
    settings: dict[str, Any] = {"n_layers": layers, "width": width}
    model = RECIPES[flow](
        x.shape[1],
        key=seed,
        context_dim=given.shape[1] if given is not None else None,
        **{name: value for name, value in settings.items() if value is not None},
    )
    options = {"batch_size": batch_size, "max_epochs": epochs, "learning_rate": learning_rate}
    out.say(f"{data}: {len(x)} rows, columns {', '.join(table.columns)}; fitting {flow} on {len(train)} rows.")
    model, history = fit_flow(
        model,
        x[train],
        key=seed,
        context=None if given is None else given[train],
        progress=out.shows_progress,
        **{name: value for name, value in options.items() if value is not None},
    )
    rows = [Row("Gaussian", "validation rows", history.gaussian), Row(flow, "validation rows", history.best_validation)]
    if n_test:
        rows[1] = leaderboard_row(flow, f"{n_test} test rows", model, x[test], None if given is None else given[test])
        rows[0] = _gaussian_row(x, given, train, test)
    rows[1].fit_seconds = history.seconds[-1] if history.seconds else None
    notes = {
        "columns": list(table.columns),
        "context_columns": list(table.context_columns),
        "recipe": flow,
        "seed": seed,
        "rows": len(x),
        "held_out_nats": rows[1].test_nats,
        "held_out": rows[1].setting,
        "gaussian_nats": rows[0].test_nats,
        "stop_reason": history.stop_reason,
    }
    save(output, model, notes=notes, overwrite=overwrite)
    if report is not None:
        _write_report(report, data, model, history, rows, table, test if n_test else train, seed, overwrite)
    out.table(
        "Held-out log-likelihood",
        ["model", "nats", "rows", "fit"],
        [[row.name, nats(row.test_nats, row.standard_error), row.setting, seconds(row.fit_seconds)] for row in rows],
    )
    out.say(f"wrote {output}" + (f" and {report}" if report else ""))
    out.say(f"next: pushforward score {output} NEW.csv -o scores.csv | pushforward sample {output} -n 1000 -o new.csv")
    out.result({**notes, "model": str(output), "epochs": len(history.train), "fit_seconds": rows[1].fit_seconds})


def _gaussian_row(x: Any, given: Any, train: Any, test: Any) -> Any:
    from pushforward.cli.scoring import Row
    from pushforward.train.data import Rows, gaussian_nats

    parts = [Rows(x[index], None if given is None else given[index], None) for index in (train, test)]
    return Row("Gaussian", f"{len(test)} test rows", gaussian_nats(*parts))


def _write_report(
    report: Path, data: Path, model: Any, history: Any, rows: Any, table: Any, shown: Any, seed: int, overwrite: bool
) -> None:
    import numpy as np

    from pushforward._version import __version__
    from pushforward.fields import count_parameters
    from pushforward.report import write_report

    given = table.context[shown] if table.context_columns else None
    samples = model.sample(len(shown) if given is None else (), key=seed, context=given)
    facts = {
        "rows": len(table.values),
        "trained parameters": f"{count_parameters(model):,}",
        "seed": seed,
        "pushforward": __version__,
    }
    write_report(
        report,
        title=f"{rows[1].name} fitted to {data.name}",
        leaderboard=rows,
        history=history,
        data=table.values[shown],
        samples=np.asarray(samples, np.float64),
        columns=table.columns,
        facts=facts,
        model=rows[1].name,
        overwrite=overwrite,
    )
