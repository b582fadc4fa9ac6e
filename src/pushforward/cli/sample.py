"""`pushforward sample`: new rows from a model."""

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.options import Debug, Json, Overwrite, Printer, Quiet, Seed, check_outputs


def sample(
    model: Annotated[Path, typer.Argument(help="Model file.", show_default=False)],
    n: Annotated[int, typer.Option("-n", "--number", min=1, help="Rows to draw.")] = 1000,
    output: Annotated[Path, typer.Option("-o", "--output", help="Table to write.")] = Path("samples.csv"),
    given: Annotated[str | None, typer.Option(help="Values of the context columns, c=1.5,d=2.")] = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw rows from a model, in the data's own units."""
    check_outputs(overwrite, output)
    out = Printer(json, quiet)
    import numpy as np

    from pushforward.cli.model_file import load_model, parse_given
    from pushforward.tables import write_table

    flow, notes = load_model(model)
    rows = np.asarray(flow.sample(n, key=seed, context=parse_given(given, notes)), np.float64)
    write_table(output, rows, notes["columns"], overwrite=overwrite)
    out.say(f"wrote {n} rows to {output}")
    out.result({"rows": n, "columns": notes["columns"], "seed": seed, "output": str(output)})
