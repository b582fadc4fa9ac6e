"""`pushforward score`: the log-density of every row of a table."""

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.options import Debug, Json, Overwrite, Printer, Quiet, check_outputs


def score(
    model: Annotated[Path, typer.Argument(help="Model file.", show_default=False)],
    data: Annotated[Path, typer.Argument(help="Table with the model's columns, in any order.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Table to write: column log_prob.")] = Path(
        "scores.csv"
    ),
    drop_na: Annotated[bool, typer.Option("--drop-na", help="Leave out rows with missing cells.")] = False,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Log-density in nats of each row, in the data's own units, computed in double precision."""
    check_outputs(overwrite, output)
    out = Printer(json, quiet)
    import numpy as np

    from pushforward.cli.model_file import load_model, matching_table
    from pushforward.cli.scoring import score_rows
    from pushforward.tables import write_table

    flow, notes = load_model(model)
    x, context = matching_table(data, notes, drop_na)
    scores = score_rows(flow, x, context)
    write_table(output, scores[:, None], ["log_prob"], overwrite=overwrite)
    low, middle = (float(value) for value in np.quantile(scores, [0.01, 0.5]))
    out.say(f"{len(scores)} rows: mean {scores.mean():.4f} nats, median {middle:.4f}, lowest 1 % below {low:.4f}")
    out.say(f"wrote {output}")
    out.result({"rows": len(scores), "mean": float(scores.mean()), "median": middle, "output": str(output)})
