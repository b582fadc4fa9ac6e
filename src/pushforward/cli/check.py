"""`pushforward check`: the health certificate of a model."""

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.options import Debug, Json, Printer, Quiet, Seed


def check(
    model: Annotated[Path, typer.Argument(help="Model file.", show_default=False)],
    data: Annotated[Path | None, typer.Argument(help="Table with the model's columns.", show_default=False)] = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Test a model's arithmetic: round trips, log-determinants, normalisation. Exit code 1 if a test fails."""
    out = Printer(json, quiet)
    from pushforward.cli.model_file import load_model, matching_table
    from pushforward.diagnostics import check as certify

    flow, notes = load_model(model)
    x, context = matching_table(data, notes, drop_na=False) if data is not None else (None, None)
    certificate = certify(flow, x, key=seed, context=context)
    out.say(str(certificate))
    out.result(certificate.to_dict())
    return 0 if certificate.ok else 1
