"""`pushforward demo`: fits a flow to real data and compares it with classical densities."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.options import Debug, Json, Overwrite, Quiet, Seed
from pushforward.cli.outputs import check_outputs, versions, writing
from pushforward.cli.printer import Printer, format_score, format_seconds, print_verdict

# Chosen by short experiments on the validation rows. `fit` scales every column into the box of the splines. Rare
# minutes in kitchen and laundry are 13 standard deviations out, so most data lie in a narrow range, where 8 bins are
# too few.
_SETTINGS: dict[str, Any] = {"n_layers": 6, "width": 128, "n_bins": 16}
_TRAINING: dict[str, Any] = {"batch_size": 512, "max_epochs": 40, "learning_rate": 4e-3}
# Sizes in between also lead to 80, and take another 15 seconds.
_N_COMPONENTS = (20, 80)
_SAMPLES = 10_000
_FILES = ("model.safetensors", "samples.csv", "report.html")


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path("pushforward-demo"),
    overwrite: Overwrite = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit a spline flow to 50,000 minutes of a household's electricity; compare, sample, report. About two minutes."""
    out = Printer(json, quiet)
    model_path, samples_path, report_path = paths = tuple(output / name for name in _FILES)
    check_outputs(overwrite and output.is_dir(), *(paths if output.is_dir() else (output,)))
    import numpy as np

    from pushforward.cli.pages import demo_report
    from pushforward.core.fields import count_parameters
    from pushforward.core.float64 import sample_float64
    from pushforward.datasets import household_power
    from pushforward.diagnostics import check
    from pushforward.persistence import save
    from pushforward.recipes import nsf
    from pushforward.reporting.text import best_other, describe_gain, gain_error
    from pushforward.tabular.files import write_table
    from pushforward.tabular.leaderboard import leaderboard_row
    from pushforward.train import fit

    data = household_power()
    out.print(f"Data       {sum(map(len, _splits(data))):,} minutes of one household's electricity, 2006 to 2010")
    out.print(f"           columns: {', '.join(data.columns)}")
    out.print(
        "           {:,} rows for training, {:,} for validation, {:,} for the test".format(*map(len, _splits(data)))
    )
    rows = _baselines(data, out)
    flow = nsf(len(data.columns), key=seed, **_SETTINGS)
    size = f"{_SETTINGS['n_layers']} couplings, {count_parameters(flow):,} parameters"
    out.print(f"Flow       neural spline flow, {size}, by maximum likelihood")
    flow, history = fit(flow, data.train, key=seed, validation=data.validation, progress=out.prints_text, **_TRAINING)
    if history.stop_reason == "interrupted":
        raise KeyboardInterrupt
    out.print(
        f"           {len(history.train)} epochs in {format_seconds(history.seconds[-1])}, of them "
        f"{format_seconds(history.compile_seconds)} compiling"
    )
    row = leaderboard_row("Neural spline flow", size, flow, data.test)
    row.fit_seconds = history.seconds[-1]
    start = time.perf_counter()
    samples = sample_float64(flow, _SAMPLES, seed)
    row.sample_seconds = time.perf_counter() - start
    certificate = check(flow, data.test, key=seed, train=data.train)
    rows = sorted([*rows, row], key=lambda line: -line.test_log_likelihood)
    notes = {
        "columns": list(data.columns),
        "units": list(data.units),
        "context_columns": [],
        "recipe": "nsf",
        "settings": _SETTINGS,
        "training": _TRAINING,
        "seed": seed,
        "source": "pushforward.datasets.household_power",
        "rows": len(data.train),
        "held_out_nats": row.test_log_likelihood,
        "held_out": f"{len(data.test):,} test rows",
        "certificate": certificate.to_dict(),
        "versions": versions(),
        "attribution": data.attribution,
    }
    output.mkdir(exist_ok=True)
    save(model_path, flow, notes=notes, overwrite=overwrite)
    write_table(samples_path, samples, data.columns, overwrite=overwrite)
    with writing(report_path):
        demo_report(
            report_path, data, flow, history, rows, row, np.asarray(samples), _SETTINGS, _TRAINING, seed, overwrite,
            certificate=certificate,
        )  # fmt: skip
    out.print()
    print_verdict(out, certificate)
    best: Any = best_other(rows, row)
    gain = row.test_log_likelihood - best.test_log_likelihood
    out.print(describe_gain(gain, gain_error(row, best), "The flow", f"the {best.name}, the best of the other models"))
    out.print()
    out.print(f"Scores of the {len(data.test):,} test rows (log-likelihood, nats per row; higher is better)")
    _print_leaderboard(out, rows)
    out.print()
    out.print(f"wrote {model_path}, {samples_path} and")
    out.print(f"      {report_path}, which shows data and samples: open it in a browser")
    out.print("next:")
    out.print(f"  pushforward show {model_path}")
    out.print(f"  pushforward sample {model_path} -n 5 -o five.csv")
    out.print("  pushforward fit YOUR.csv")
    out.print()
    out.print(f"Data: {data.attribution}")
    out.result({
        "leaderboard": [line.to_dict() for line in rows], "epochs": len(history.train),
        "compile_seconds": history.compile_seconds, "files": [str(path) for path in paths],
    })  # fmt: skip


def _splits(data: Any) -> tuple[Any, ...]:
    return data.train, data.validation, data.test


def _baselines(data: Any, out: Printer) -> list[Any]:
    from pushforward.tabular import baselines

    out.print("Baselines  Gaussian, Gaussian mixture and kernel density, chosen on the validation rows ...")
    start = time.perf_counter()
    splits = _splits(data)
    mixture = baselines.gaussian_mixture(*splits, components=_N_COMPONENTS)
    results = [baselines.gaussian(*splits), mixture, baselines.kernel_density(*splits)]
    out.print(f"           done in {format_seconds(time.perf_counter() - start)}")
    return results


def _print_leaderboard(out: Printer, rows: list[Any]) -> None:
    out.table(
        ["model", "nats", "fit", "score", f"sample {_SAMPLES:,}"],
        [
            [line.name, format_score(line.test_log_likelihood, line.standard_error), format_seconds(line.fit_seconds),
             format_seconds(line.score_seconds), format_seconds(line.sample_seconds)]
            for line in rows
        ],
    )  # fmt: skip
