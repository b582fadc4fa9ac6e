"""`pushforward sample`: new rows, or pictures, from a model."""

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.options import Debug, Json, ModelFile, Overwrite, Quiet, Seed, counted, told, values_given
from pushforward.cli.outputs import check_outputs, check_samples_output, check_table_output
from pushforward.cli.printer import Printer


def sample(
    model: ModelFile,
    n: Annotated[int, typer.Option("-n", "--number", min=1, max=10**8, help="Rows to draw.")] = 1000,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Table to write; of a model of pictures a new folder, .npy or .npz.")
    ] = Path("samples.csv"),
    given: Annotated[str | None, typer.Option(help="Values of the context columns: c=1.5,d=2.")] = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw rows from a model, in the data's own units, or pictures as PNG files."""
    out = Printer(json, quiet)
    check_samples_output(output)
    check_outputs(overwrite, output, inputs=(model,))
    import numpy as np

    from pushforward.cli.model_file import is_image_model, load_model, schema_of
    from pushforward.cli.picture_files import check_picture_output, write_pictures
    from pushforward.core.float64 import sample_float64
    from pushforward.tabular.files import write_table
    from pushforward.tabular.schema import Range, out_of_range

    flow, notes = load_model(model)
    if is_image_model(flow):
        values_given(given, ())
        check_picture_output(output, flow.shape, flow.levels)
        write_pictures(output, sample_float64(flow, n, seed), flow.levels, overwrite=overwrite)
        height, width, _ = flow.shape
        out.say(f"wrote {counted(n, 'picture')} of {height} x {width} to {output}")
        out.result({"pictures": n, "shape": list(flow.shape), "seed": seed, "output": str(output)})
        return
    check_table_output(output)
    values = values_given(given, notes["context_columns"])
    context_seen = Range.from_dict(notes.get("context_seen"), notes["context_columns"])
    far = [] if values is None or context_seen is None else context_seen.far_contexts(values)
    for sentence in far:
        out.warn(sentence)
    with out.stage(f"drawing {counted(n, 'row')}"):
        drawn = sample_float64(flow, n, seed, None if values is None else np.array(values))
    schema = schema_of(model, flow, notes)
    chosen = [schema.columns[place] for place in schema.modelled_indices]
    seen = Range.from_dict(notes.get("seen"), [column.name for column in chosen])
    outside = {} if seen is None else out_of_range(chosen, drawn, seen)
    rows = schema.fill_constants(drawn)
    listed = notes.get("whole_columns")
    large = [name for name in listed if name in schema.names] if isinstance(listed, list) else []
    for name in large:
        rows[:, schema.names.index(name)] = np.round(rows[:, schema.names.index(name)])
    with out.stage(f"writing {output}"):
        write_table(
            output, rows, notes["columns"], integer_columns=(*schema.integer_columns(rows), *large), overwrite=overwrite
        )
    for _, sentence in outside.values():
        out.warn(sentence)
    out.say(f"wrote {counted(n, 'row')} of {told(notes['columns'])} to {output}")
    out.result({
        "rows": n, "columns": notes["columns"], "seed": seed, "output": str(output), "far_contexts": far,
        "outside_range": {name: share for name, (share, _) in outside.items()},
    })  # fmt: skip
