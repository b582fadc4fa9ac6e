"""`pushforward score`: writes the log-density of every row of a table, or of every picture in a folder."""

import contextlib
import itertools
import math
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.options import Debug, DropNA, Json, ModelFile, Overwrite, Quiet, Seed, pluralise
from pushforward.cli.outputs import check_outputs, check_table_output
from pushforward.cli.printer import Printer, print_verdict

_BAR_STEPS = 1000


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
    """Write the log-density of each row, in nats and in the units of the data, computed in double precision.

    For pictures, in the order of their file names, lower bounds of the log-probabilities and bits per dimension are
    written. With --drop-na the remaining rows are written with their scores, since row numbers no longer match the
    file; columns that were constant in training are left out. If a column is called log_prob, the scores are log_prob_.
    """
    out = Printer(json, quiet)
    check_table_output(output)
    check_outputs(overwrite, output, inputs=(model, data))
    from pushforward.cli.model_file import is_image_model, load_model, matching_batches, schema_of
    from pushforward.cli.score_summary import ScoreSummary
    from pushforward.tabular.files import write_batches

    flow, notes = load_model(model)
    totals = _Totals(ScoreSummary(seed))
    batches = matching_batches(flow, notes, data, drop_na)
    columns = ["log_prob", "bits_per_dim"] if is_image_model(flow) else ["log_prob"]
    if drop_na:
        schema = schema_of(model, flow, notes)
        known = [*(column.name for column in schema.modelled_columns), *notes["context_columns"]]
        columns = [*known, *(_unused_name(name, known) for name in columns)]
    with _progress_bar(out.prints_text, totals) as update_bar:
        write_batches(
            output, _score_batches(flow, data, batches, drop_na, totals, update_bar), columns, overwrite=overwrite
        )
    if drop_na and columns[-1] != "log_prob":
        out.print(f"The scores are the column {columns[-1]}, since the table has a column log_prob.")
    _print_summary(out, totals, notes, output)


def _unused_name(name: str, names: list[str]) -> str:
    """The name, with underscores appended until no column has it."""
    while name in names:
        name += "_"
    return name


@dataclass
class _Totals:
    """Totals of the rows scored so far."""

    summary: Any
    dropped: int = 0
    share: float = 0.0
    is_pictures: bool = False
    bits: float = 0.0


def _score_batches(
    flow: Any, data: Path, batches: Iterator[Any], with_rows: bool, totals: _Totals, update_bar: Callable[[], None]
) -> Iterator[Any]:
    """Score the batches and yield the rows of the output. Several threads score one batch each, while the next is read.

    A JAX program of a small network uses only one core, so each core gets a batch. The first batch is scored alone,
    since it compiles the program for the others.
    """
    import jax
    import numpy as np

    from pushforward.cli.model_file import is_image_model
    from pushforward.cli.ordered_map import cores, ordered_map
    from pushforward.core.dequantised import bits_per_dim
    from pushforward.core.float64 import log_prob_float64
    from pushforward.errors import NumericError

    totals.is_pictures = is_image_model(flow)

    def score_batch(batch: Any) -> Any:
        if not len(batch.x):
            return np.empty(0), batch
        try:
            return log_prob_float64(flow, batch.x, batch.context), batch
        except NumericError as error:
            location = f"{data}, with rows counted from row {batch.numbers[0]}, which is 0"
            raise NumericError(f"{location}{', and dropped ones left out' if with_rows else ''}: {error}") from error

    first = next(batches, None)
    first_result = [] if first is None else [score_batch(first)]
    workers = cores() if jax.default_backend() == "cpu" else 1
    for scores, batch in itertools.chain(first_result, ordered_map(score_batch, batches, workers)):
        totals.summary.add(scores, batch.numbers)
        totals.dropped, totals.share = totals.dropped + batch.dropped, batch.share
        table = scores[:, None]
        if totals.is_pictures:
            table = np.stack([scores, bits_per_dim(scores, flow.shape)], axis=1)
            totals.bits = float(bits_per_dim(totals.summary.mean, flow.shape))
        update_bar()
        context = [] if batch.context is None else [batch.context]
        yield np.hstack([batch.x, *context, table]) if with_rows else table


@contextlib.contextmanager
def _progress_bar(show: bool, totals: _Totals) -> Generator[Callable[[], None]]:
    """Context whose value updates a progress bar, shown on a terminal if there is more than one batch."""
    with contextlib.ExitStack() as stack:
        bar = None

        def update_bar() -> None:
            nonlocal bar
            if bar is None and show and sys.stderr.isatty() and totals.share < 1:
                from pushforward.train.progress import progress_bar

                bar = stack.enter_context(
                    progress_bar(
                        True, _BAR_STEPS, lambda _: f"{pluralise(totals.summary.rows, 'row')} scored", "scoring"
                    )
                )
            if bar is not None:
                bar(math.ceil(_BAR_STEPS * totals.share) - 1)

        yield update_bar


def _print_doubts(out: Printer, notes: dict[str, Any]) -> None:
    """Print the verdict of the certificate that `fit` stored, unless the model is healthy."""
    from pushforward.diagnostics import Certificate
    from pushforward.errors import DataError

    try:
        certificate = Certificate.from_dict(notes["certificate"])
    except (KeyError, DataError):
        return
    if not certificate.ok:
        print_verdict(out, certificate, most=1)


def _print_summary(out: Printer, totals: _Totals, notes: dict[str, Any], output: Path) -> None:
    """Print the summary of all scores."""
    from pushforward.cli.model_file import number_in

    _print_doubts(out, notes)
    summary = totals.summary
    low, median, high = summary.quantiles([0.01, 0.5, 0.99])
    if totals.is_pictures:
        count, unit = pluralise(summary.rows, "picture"), "picture, lower bounds"
    else:
        count, unit = pluralise(summary.rows, "row"), "row and in the units of the data"
    out.print(f"{count} scored, in nats per {unit} (higher: more usual)")
    if notes.get("is_bound") is True:
        out.print("Rounded columns count with their masses, of which these scores are lower bounds.")
    if summary.outside:
        out.print(
            f"Density zero, outside the support of a column or too far out for a float: "
            f"{pluralise(summary.outside, 'row')} (log_prob -inf, not in the mean)."
        )
    out.print_left_out(totals.dropped)
    approximate = "" if summary.is_exact else "about "
    bits = {"bits per dimension": totals.bits} if totals.is_pictures else {}
    out.facts([
        ("mean", f"{summary.mean:.4f}"),
        ("median", f"{approximate}{median:.4f}"),
        ("99 % above", f"{approximate}{low:.4f}"),
        ("lowest", f"{summary.lowest:.4f}, in row {summary.lowest_row}"),
        *((name, f"{value:.4f}") for name, value in bits.items()),
    ])  # fmt: skip
    if (held_out := number_in(notes, "held_out_nats")) is not None:
        out.print(f"The model's mean on its held-out rows was {held_out:.4f}.")
    out.print(f"wrote {output}")
    out.result({
        "rows": summary.rows, "dropped": totals.dropped, "outside": summary.outside,
        "mean": summary.mean, "median": median, "quantile_01": low,
        "quantile_99": high, "quantiles_exact": summary.is_exact, "lowest": summary.lowest,
        "lowest_row": summary.lowest_row, **{name.replace(" ", "_"): value for name, value in bits.items()},
        "output": str(output),
    })  # fmt: skip
