"""`pushforward score`: the log-density of every row of a table, or of every picture of a folder."""

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.options import Debug, DropNA, Json, ModelFile, Overwrite, Quiet, Seed
from pushforward.cli.outputs import check_outputs, check_table_output
from pushforward.cli.printer import Printer


def score(
    model: ModelFile,
    data: Annotated[
        Path,
        typer.Argument(help="Table with the model's columns, in any order; or folder of pictures.", show_default=False),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Table to write: log_prob of each row.")] = Path(
        "scores.csv"
    ),
    drop_na: DropNA = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the log-density of each row, in nats and in the data's own units, computed in double precision.

    Of pictures, in the order of their files' names, lower bounds of the log-probabilities are written, and bits per
    dimension. With --drop-na the rows that are left are written beside their scores, which no longer line up with the
    file's.
    """
    out = Printer(json, quiet)
    check_table_output(output)
    check_outputs(overwrite, output, inputs=(model, data))
    import numpy as np

    from pushforward.cli.model_file import is_image_model, load_model, matching_rows
    from pushforward.dequantise import bits_per_dim
    from pushforward.double import score_rows
    from pushforward.tables import write_table

    flow, notes = load_model(model)
    x, context = matching_rows(flow, notes, data, drop_na)
    scores = score_rows(flow, x, context)
    table, columns = scores[:, None], ["log_prob"]
    rows, bits = f"{len(scores):,} rows scored, in nats per row and in the data's own units", {}
    if is_image_model(flow):
        table, columns = np.stack([scores, bits_per_dim(scores, flow.shape)], axis=1), ["log_prob", "bits_per_dim"]
        rows = f"{len(scores):,} pictures scored, in nats per picture, lower bounds"
        bits = {"bits per dimension": float(table[:, 1].mean())}
    if drop_na:
        table = np.hstack([x, *([] if context is None else [context]), table])
        columns = [*notes["columns"], *notes["context_columns"], *columns]
    write_table(output, table, columns, overwrite=overwrite)
    low, middle, high = (float(value) for value in np.quantile(scores, [0.01, 0.5, 0.99]))
    out.say(f"{rows} (higher: more usual)")
    out.facts([
        ("mean", f"{scores.mean():.4f}"),
        ("median", f"{middle:.4f}"),
        ("99 % above", f"{low:.4f}"),
        ("lowest", f"{scores.min():.4f}, in row {int(scores.argmin()) + 1}"),
        *((name, f"{value:.4f}") for name, value in bits.items()),
    ])  # fmt: skip
    if notes.get("held_out_nats") is not None:
        out.say(f"The model's mean on the rows held out of its own training was {notes['held_out_nats']:.4f}.")
    out.say(f"wrote {output}")
    out.result({
        "rows": len(scores), "mean": float(scores.mean()), "median": middle, "quantile_01": low, "quantile_99": high,
        "lowest": float(scores.min()), **{name.replace(" ", "_"): value for name, value in bits.items()},
        "output": str(output),
    })  # fmt: skip
