"""`pushforward show`: what is in a model file."""

from typing import Any

from pushforward.cli.options import Debug, Json, ModelFile, Quiet, Seed
from pushforward.cli.printer import Printer


def show(
    model: ModelFile,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print the layers of a model with shapes and parameter counts, the schema of its columns, and its notes."""
    out = Printer(json, quiet)
    from pushforward.cli.model_file import load_model, schema_of
    from pushforward.cli.schema_table import print_schema
    from pushforward.core.fields import count_parameters
    from pushforward.core.flow import summary

    flow, notes = load_model(model, verify=False)
    layers = summary(flow)
    out.say(layers)
    out.say()
    if "plan" in notes:
        print_schema(out, schema_of(model, flow, notes))
    # The schema is a table of its own; of a certificate the verdict is enough here, `check` makes the whole.
    hidden = {"plan", "units"} if "plan" in notes else {"plan"}  # whose table says them by column
    words = {name.replace("_", " "): _words(value) for name, value in notes.items() if name not in hidden}
    out.facts((name, text) for name, text in words.items() if text.strip(", "))
    out.result({"layers": layers.splitlines(), "parameters": count_parameters(flow), "notes": notes})


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict) and "verdict" in value:
        return f"{value['verdict']}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return f"{value:.4f}" if isinstance(value, float) else f"{value}"
