"""`pushforward distill`: trains a student flow that samples fast to imitate a fitted model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.options import Debug, Json, ModelFile, Overwrite, Quiet, Seed, drop_none, find_recipe
from pushforward.cli.outputs import check_outputs, versions, writing
from pushforward.cli.printer import Printer, format_seconds, strict_json


def distill(
    model: ModelFile,
    output: Annotated[Path, typer.Option("-o", "--output", help="Model file of the student.")] = Path(
        "student.safetensors"
    ),
    flow: Annotated[
        str, typer.Option(help="Recipe of the student: nsf, iaf and more; a wrong name lists all.")
    ] = "nsf",
    contexts: Annotated[
        Path | None, typer.Option(help="Table of context rows, for a model with a context.", show_default=False)
    ] = None,
    report: Annotated[Path | None, typer.Option(help="HTML report to write.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Gradient steps.")] = 4000,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples of either flow in a step.")] = 256,
    forward: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of KL(teacher | student) in the loss.")
    ] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Layers of the student.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Hidden units of its networks.")] = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a student flow on the density of a model, and measure how faithful it is.

    A student that samples fast (nsf, iaf, real_nvp) needs one pass where an autoregressive model draws one column after
    the other. It learns from the density and the samples of the model: no data are needed.
    """
    out = Printer(json, quiet)
    check_outputs(overwrite, output, report, inputs=tuple(path for path in (model, contexts) if path is not None))
    from pushforward.cli.model_file import is_image_model, load_model, schema_of
    from pushforward.persistence import save
    from pushforward.recipes import RECIPES
    from pushforward.train import distill as distill_flow

    recipe, settings = find_recipe(flow, model, n_layers=layers, width=width)
    teacher, notes = load_model(model)
    if is_image_model(teacher):
        raise typer.BadParameter(
            f"{model} is a model of pictures, which this command does not distil: use pushforward.distill in Python.",
            param_hint="MODEL",
        )
    rows, schema = _contexts(notes, contexts), schema_of(model, teacher, notes)
    if "plan" in notes:  # the student learns the flow without the maps of the columns and without rounding
        teacher = schema.unwrap(teacher)
    start = RECIPES[recipe](teacher.shape[0], key=seed, context_dim=len(notes["context_columns"]) or None, **settings)
    out.print(f"distilling {model} into {recipe}, {steps:,} steps of {batch_size:,} samples")
    student, fidelity = distill_flow(
        teacher, start, key=seed, context=rows, progress=out.prints_text,
        **drop_none(steps=steps, batch_size=batch_size, forward=forward),
    )  # fmt: skip
    history = fidelity.history
    if history.stop_reason == "interrupted" and not history.reverse_kl:
        raise KeyboardInterrupt
    copied = {"columns": notes["columns"], "context_columns": notes["context_columns"]}
    copied |= {name: notes[name] for name in ("units", "plan", "is_bound") if name in notes}
    figures = strict_json({name: value for name, value in fidelity.to_dict().items() if name != "history"})
    student_notes = copied | {
        "recipe": recipe, "settings": settings, "seed": seed, "source": model.name, "fidelity": figures,
        "stop_reason": history.stop_reason, "versions": versions(),
    }  # fmt: skip
    save(output, schema.wrap(student) if "plan" in notes else student, notes=student_notes, overwrite=overwrite)
    if report is not None:
        from pushforward.cli.pages import distillation_report

        modelled = [column.name for column in schema.modelled_columns]
        with writing(report):
            distillation_report(report, model, recipe, teacher, student, fidelity, modelled, seed, overwrite)
    elapsed = format_seconds(history.seconds[-1]) if history.seconds else "-"
    out.print(f"{len(history.reverse_kl)} blocks of steps in {elapsed} ({history.stop_reason})")
    if history.skipped_steps:
        out.print(
            f"{history.skipped_steps} of {steps:,} steps were skipped because the loss was not finite, or were undone; "
            f"training went back {history.restarts} times"
        )
    out.print(str(fidelity))
    out.print(
        "The student is faithful to its teacher."
        if not fidelity.doubts()
        else "The student is NOT faithful: see above."
    )
    out.print(f"wrote {output}" + (f" and {report}" if report else ""))
    out.result({**student_notes, "model": str(output), "report": None if report is None else str(report)})


def _contexts(notes: dict[str, Any], path: Path | None) -> Any:
    """Rows of the model's context columns, from a table that may have other columns too."""
    context_columns = notes["context_columns"]
    if not context_columns:
        if path is not None:
            raise typer.BadParameter("the model has no context.", param_hint="--contexts")
        return None
    if path is None:
        raise typer.BadParameter(
            f"the model is conditional on {', '.join(context_columns)}: pass a table with these columns.",
            param_hint="--contexts",
        )
    from pushforward.tabular.files import read_table

    return read_table(path, columns=context_columns).values
