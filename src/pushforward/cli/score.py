"""`pushforward score`: the log-density of every row of a table, or of every picture of a folder."""

import contextlib
import itertools
import math
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.options import Debug, DropNA, Json, ModelFile, Overwrite, Quiet, Seed, counted
from pushforward.cli.outputs import check_outputs, check_table_output
from pushforward.cli.printer import Printer

_STEPS = 1000


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
    file's; columns that were constant in training are left out. Where a column is called log_prob, theirs is log_prob_.
    """
    out = Printer(json, quiet)
    check_table_output(output)
    check_outputs(overwrite, output, inputs=(model, data))
    from pushforward.cli.model_file import is_image_model, load_model, matching_batches, schema_of
    from pushforward.cli.score_summary import ScoreSummary
    from pushforward.tabular.files import write_batches

    flow, notes = load_model(model)
    found = _Found(ScoreSummary(seed))
    batches = matching_batches(flow, notes, data, drop_na)
    columns = ["log_prob", "bits_per_dim"] if is_image_model(flow) else ["log_prob"]
    if drop_na:
        schema = schema_of(model, flow, notes)
        known = [*(schema.names[place] for place in schema.modelled_indices), *notes["context_columns"]]
        columns = [*known, *(_free(name, known) for name in columns)]
    with _course(out.talks, found) as report:
        write_batches(output, _scored(flow, data, batches, drop_na, found, report), columns, overwrite=overwrite)
    if drop_na and columns[-1] != "log_prob":
        out.say(f"The scores are the column {columns[-1]}, for the table has a log_prob of its own.")
    _tell(out, found, notes, output)


def _free(name: str, taken: list[str]) -> str:
    """The name, with underscores at its end until no column has it."""
    while name in taken:
        name += "_"
    return name


@dataclass
class _Found:
    """What is known of the rows that have been scored."""

    summary: Any
    dropped: int = 0
    share: float = 0.0
    is_pictures: bool = False
    bits: float = 0.0


def _scored(
    flow: Any, data: Path, batches: Iterator[Any], keep: bool, found: _Found, report: Callable[[], None]
) -> Iterator[Any]:
    """The rows of the table to be written. Several threads score a batch each; the next is read meanwhile.

    A JAX program of a small network runs on one core only, so cores are filled with batches. The first batch is scored
    alone: it compiles the program for the others.
    """
    import jax
    import numpy as np

    from pushforward.cli.model_file import is_image_model
    from pushforward.cli.ordered_map import cores, ordered_map
    from pushforward.core.dequantised import bits_per_dim
    from pushforward.core.float64 import log_prob_function
    from pushforward.errors import NumericError

    score, found.is_pictures = log_prob_function(flow), is_image_model(flow)

    def scored(batch: Any) -> Any:
        if not len(batch.x):
            return np.empty(0), batch
        try:
            return score(batch.x, batch.context), batch
        except NumericError as error:
            where = f"{data}, with rows counted from row {batch.numbers[0]}, which is 0"
            raise NumericError(f"{where}{', and dropped ones left out' if keep else ''}: {error}") from error

    first = next(batches, None)
    here = [] if first is None else [scored(first)]
    workers = cores() if jax.default_backend() == "cpu" else 1
    for scores, batch in itertools.chain(here, ordered_map(scored, batches, workers)):
        found.summary.add(scores, batch.numbers)
        found.dropped, found.share = found.dropped + batch.dropped, batch.share
        table = scores[:, None]
        if found.is_pictures:
            table = np.stack([scores, bits_per_dim(scores, flow.shape)], axis=1)
            found.bits = float(bits_per_dim(found.summary.mean, flow.shape))
        report()
        context = [] if batch.context is None else [batch.context]
        yield np.hstack([batch.x, *context, table]) if keep else table


@contextlib.contextmanager
def _course(show: bool, found: _Found) -> Generator[Callable[[], None]]:
    """A bar on a terminal once there is more than one batch."""
    with contextlib.ExitStack() as stack:
        bar = None

        def report() -> None:
            nonlocal bar
            if bar is None and show and sys.stderr.isatty() and found.share < 1:
                from pushforward.train.progress import progress_bar

                bar = stack.enter_context(
                    progress_bar(True, _STEPS, lambda _: f"{counted(found.summary.rows, 'row')} scored", "scoring")
                )
            if bar is not None:
                bar(math.ceil(_STEPS * found.share) - 1)

        yield report


def _tell(out: Printer, found: _Found, notes: dict[str, Any], output: Path) -> None:
    from pushforward.cli.model_file import number_in

    summary = found.summary
    low, middle, high = summary.quantiles([0.01, 0.5, 0.99])
    if found.is_pictures:
        scored, unit = counted(summary.rows, "picture"), "picture, lower bounds"
    else:
        scored, unit = counted(summary.rows, "row"), "row and in the data's own units"
    out.say(f"{scored} scored, in nats per {unit} (higher: more usual)")
    if notes.get("is_bound") is True:
        out.say("Discretised columns count with their masses, of which these scores are lower bounds.")
    if summary.outside:
        out.say(f"Outside the support of a column: {counted(summary.outside, 'row')} (log_prob -inf, not in the mean).")
    if found.dropped:
        out.say(f"Left out: {counted(found.dropped, 'row')} with a missing cell.")
    about = "" if summary.is_exact else "about "
    bits = {"bits per dimension": found.bits} if found.is_pictures else {}
    out.facts([
        ("mean", f"{summary.mean:.4f}"),
        ("median", f"{about}{middle:.4f}"),
        ("99 % above", f"{about}{low:.4f}"),
        ("lowest", f"{summary.lowest:.4f}, in row {summary.lowest_row}"),
        *((name, f"{value:.4f}") for name, value in bits.items()),
    ])  # fmt: skip
    if (held_out := number_in(notes, "held_out_nats")) is not None:
        out.say(f"The model's mean on the rows held out of its own training was {held_out:.4f}.")
    out.say(f"wrote {output}")
    out.result({
        "rows": summary.rows, "dropped": found.dropped, "outside": summary.outside,
        "mean": summary.mean, "median": middle, "quantile_01": low,
        "quantile_99": high, "quantiles_exact": summary.is_exact, "lowest": summary.lowest,
        "lowest_row": summary.lowest_row, **{name.replace(" ", "_"): value for name, value in bits.items()},
        "output": str(output),
    })  # fmt: skip
