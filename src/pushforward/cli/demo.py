"""`pushforward demo`: a flow fitted to real data, beside the densities one would use otherwise."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.options import Debug, Json, Overwrite, Printer, Quiet, Seed, nats, seconds

_SETTINGS = {"n_layers": 8, "width": 128, "depth": 2, "n_bins": 8}
_TRAINING = {"batch_size": 512, "max_epochs": 50, "learning_rate": 2e-3}
_SAMPLES = 10_000


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path("pushforward-demo"),
    overwrite: Overwrite = False,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit the spline coupling flow to 50,000 minutes of a household's electricity; compare, sample, report."""
    out = Printer(json, quiet)
    from pushforward.cli.options import check_outputs

    output.mkdir(parents=True, exist_ok=True)
    model_path, samples_path, report_path = (
        output / name for name in ("model.safetensors", "samples.csv", "report.html")
    )
    check_outputs(overwrite, model_path, samples_path, report_path)
    import numpy as np

    from pushforward import baselines
    from pushforward.cli.scoring import Row, leaderboard_row
    from pushforward.datasets import household_power
    from pushforward.persistence import save
    from pushforward.recipes import nsf
    from pushforward.tables import write_table
    from pushforward.train import fit

    data = household_power()
    out.say(
        f"Data: {len(data.train):,} minutes of one household, {len(data.columns)} columns: {', '.join(data.columns)}"
    )
    out.say("Baselines, tuned on the validation rows: a full Gaussian, a Gaussian mixture, a kernel density ...")
    rows = [
        Row(**vars(baseline(data.train, data.validation, data.test)))
        for baseline in (baselines.gaussian, baselines.gaussian_mixture, baselines.kernel_density)
    ]
    out.say(f"Flow: nsf, {_SETTINGS['n_layers']} spline couplings, fitted by maximum likelihood ...")
    flow, history = fit(
        nsf(len(data.columns), key=seed, **_SETTINGS),
        data.train,
        key=seed,
        validation=data.validation,
        progress=out.shows_progress,
        **_TRAINING,
    )
    row = leaderboard_row(
        "Spline coupling flow", f"{_SETTINGS['n_layers']} layers, {_SETTINGS['width']} units", flow, data.test, None
    )
    row.fit_seconds = history.seconds[-1]
    start = time.perf_counter()
    samples = np.asarray(flow.sample(_SAMPLES, key=seed), np.float64)
    row.sample_seconds = time.perf_counter() - start
    rows.append(row)
    rows.sort(key=lambda line: -line.test_nats)
    save(model_path, flow, notes=_notes(data, row, seed), overwrite=overwrite)
    write_table(samples_path, samples, data.columns, overwrite=overwrite)
    _report(report_path, rows, row, history, data, samples, flow, seed, overwrite)
    out.table(
        f"Held-out log-likelihood on {len(data.test):,} test rows, in nats and in the data's own units",
        ["model", "nats", "fit", "score", f"sample {_SAMPLES:,}"],
        [
            [line.name, nats(line.test_nats, line.standard_error), seconds(line.fit_seconds),
             seconds(line.score_seconds), seconds(line.sample_seconds)]
            for line in rows
        ],
    )  # fmt: skip
    out.say(f"wrote {model_path}, {samples_path} and {report_path} (open it in a browser)")
    out.say(
        f"next: pushforward show {model_path}   pushforward sample {model_path} -n 5 -o five.csv   pushforward fit YOUR.csv"
    )
    out.say(f"Data: {data.attribution}")
    out.result({
        "leaderboard": [
            {"name": line.name, "test_nats": line.test_nats, "standard_error": line.standard_error,
             "fit_seconds": line.fit_seconds, "score_seconds": line.score_seconds}
            for line in rows
        ],
        "epochs": len(history.train), "compile_seconds": history.compile_seconds, "folder": str(output),
    })  # fmt: skip


def _notes(data: Any, row: Any, seed: int) -> dict[str, Any]:
    return {
        "columns": list(data.columns),
        "context_columns": [],
        "recipe": "nsf",
        "seed": seed,
        "rows": len(data.train),
        "held_out_nats": row.test_nats,
        "held_out": f"{len(data.test)} test rows",
        "attribution": data.attribution,
    }


def _report(
    path: Path, rows: Any, row: Any, history: Any, data: Any, samples: Any, flow: Any, seed: int, overwrite: bool
) -> None:
    from pushforward._version import __version__
    from pushforward.fields import count_parameters
    from pushforward.report import write_report

    write_report(
        path,
        title="A spline flow of household electricity",
        leaderboard=rows,
        history=history,
        data=data.test,
        samples=samples,
        columns=data.columns,
        facts={
            "flow": "nsf: " + ", ".join(f"{name} {value}" for name, value in _SETTINGS.items()),
            "training": ", ".join(f"{name} {value}" for name, value in _TRAINING.items()),
            "trained parameters": f"{count_parameters(flow):,}",
            "train / validation / test rows": f"{len(data.train):,} / {len(data.validation):,} / {len(data.test):,}",
            "seed": seed,
            "pushforward": __version__,
        },
        model=row.name,
        baseline=rows[-1].name,
        attribution=data.attribution,
        overwrite=overwrite,
    )
