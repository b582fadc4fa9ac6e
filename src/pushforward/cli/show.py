"""`pushforward show`: prints the contents of a model file."""

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
    out.print(layers)
    out.print()
    if "plan" in notes:
        print_schema(out, schema_of(model, flow, notes))
    # The schema is a table above; of a certificate only the verdict is shown, `check` prints the rest.
    hidden = {"plan", "units"} if "plan" in notes else {"plan"}  # the table of the schema has the units
    texts = {name.replace("_", " "): _format(value) for name, value in notes.items() if name not in hidden}
    out.facts((name, text) for name, text in texts.items() if text.strip(", "))
    out.result({"layers": layers.splitlines(), "parameters": count_parameters(flow), "notes": notes})


def _format(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict) and "verdict" in value:
        return f"{value.get('summary', value['verdict'])}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return f"{value:.4f}" if isinstance(value, float) else f"{value}"
