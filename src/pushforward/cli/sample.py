"""`pushforward sample`: new rows, or pictures, from a model."""

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.options import Debug, Json, ModelFile, Overwrite, Quiet, Seed, join_names, parse_context, pluralise
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
    """Draw rows from a model, in the units of the data, or pictures as PNG files."""
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
        parse_context(given, ())
        check_picture_output(output, flow.shape, flow.levels)
        write_pictures(output, sample_float64(flow, n, seed), flow.levels, overwrite=overwrite)
        height, width, _ = flow.shape
        out.print(f"wrote {pluralise(n, 'picture')} of {height} x {width} to {output}")
        out.result({"pictures": n, "shape": list(flow.shape), "seed": seed, "output": str(output)})
        return
    check_table_output(output)
    context = parse_context(given, notes["context_columns"])
    context_range = Range.from_dict(notes.get("context_seen"), notes["context_columns"])
    far_contexts = [] if context is None or context_range is None else context_range.far_contexts(context)
    for message in far_contexts:
        out.warn(message)
    with out.stage(f"drawing {pluralise(n, 'row')}"):
        samples = sample_float64(flow, n, seed, None if context is None else np.array(context))
    schema = schema_of(model, flow, notes)
    columns = schema.modelled_columns
    training_range = Range.from_dict(notes.get("seen"), [column.name for column in columns])
    out_of_range_columns = {} if training_range is None else out_of_range(columns, samples, training_range)
    rows = schema.fill_constants(samples)
    noted = notes.get("whole_columns")
    integer_columns = [name for name in noted if name in schema.names] if isinstance(noted, list) else []
    for name in integer_columns:
        rows[:, schema.names.index(name)] = np.round(rows[:, schema.names.index(name)])
    with out.stage(f"writing {output}"):
        write_table(
            output,
            rows,
            notes["columns"],
            integer_columns=(*schema.integer_columns(rows), *integer_columns),
            overwrite=overwrite,
        )
    for _, message in out_of_range_columns.values():
        out.warn(message)
    out.print(f"wrote {pluralise(n, 'row')} of {join_names(notes['columns'])} to {output}")
    out.result({
        "rows": n, "columns": notes["columns"], "seed": seed, "output": str(output), "far_contexts": far_contexts,
        "outside_range": {name: share for name, (share, _) in out_of_range_columns.items()},
    })  # fmt: skip
