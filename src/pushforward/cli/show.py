"""`pushforward show`: what is in a model file."""

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.options import Debug, Json, Printer, Quiet


def show(
    model: Annotated[Path, typer.Argument(help="Model file.", show_default=False)],
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print the layers of a model with shapes and parameter counts, and the notes kept with it."""
    out = Printer(json, quiet)
    from pushforward.cli.model_file import load_model
    from pushforward.fields import count_parameters
    from pushforward.flow import summary

    flow, notes = load_model(model)
    out.say(summary(flow))
    for name, value in notes.items():
        out.say(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    out.result({"layers": summary(flow).splitlines(), "parameters": count_parameters(flow), "notes": notes})
