"""`pushforward check`: the health certificate of a model."""

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.options import Debug, DropNA, Json, ModelFile, Quiet, Seed
from pushforward.cli.printer import Printer


def check(
    model: ModelFile,
    data: Annotated[
        Path | None, typer.Argument(help="Table with the model's columns, or folder of pictures.", show_default=False)
    ] = None,
    drop_na: DropNA = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Test a model's arithmetic: round trips, log-determinants, normalisation. Exit code 1 if a test fails."""
    out = Printer(json, quiet)
    from pushforward.cli.model_file import load_model, matching_rows
    from pushforward.diagnostics import check as certify

    flow, notes = load_model(model)
    x, context = (None, None) if data is None else matching_rows(flow, notes, data, drop_na)
    certificate = certify(flow, x, key=seed, context=context)
    out.say(str(certificate))
    out.result(certificate.to_dict())
    return 0 if certificate.ok else 1
