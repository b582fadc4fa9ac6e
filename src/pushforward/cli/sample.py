"""`pushforward sample`: new rows from a model."""

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.options import Debug, Json, ModelFile, Overwrite, Quiet, Seed, values_given
from pushforward.cli.outputs import check_outputs, check_table_output
from pushforward.cli.printer import Printer


def sample(
    model: ModelFile,
    n: Annotated[int, typer.Option("-n", "--number", min=1, max=10**8, help="Rows to draw.")] = 1000,
    output: Annotated[Path, typer.Option("-o", "--output", help="Table to write.")] = Path("samples.csv"),
    given: Annotated[str | None, typer.Option(help="Values of the context columns: c=1.5,d=2.")] = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw rows from a model, in the data's own units."""
    out = Printer(json, quiet)
    check_table_output(output)
    check_outputs(overwrite, output, inputs=(model,))
    import numpy as np

    from pushforward.cli.model_file import load_model
    from pushforward.cli.scoring import draw_rows
    from pushforward.tables import write_table

    flow, notes = load_model(model)
    values = values_given(given, notes["context_columns"])
    rows = draw_rows(flow, n, seed, None if values is None else np.array(values))
    write_table(output, rows, notes["columns"], overwrite=overwrite)
    out.say(f"wrote {n:,} rows of {', '.join(notes['columns'])} to {output}")
    out.result({"rows": n, "columns": notes["columns"], "seed": seed, "output": str(output)})
