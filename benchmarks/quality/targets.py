"""Flows of few parameters: fitted to targets, and to data.

    python benchmarks/quality/targets.py --part potentials   # the four walled energies of Rezende & Mohamed
    python benchmarks/quality/targets.py --part shapes       # planar, radial and Sylvester flows on the 2-D shapes

potentials: planar flows of 2, 8 and 32 layers, and the other families, each with the same number of steps and samples.
log Z by quadrature (midpoints, 1,500^2, on [-6, 6]^2, float64) is what importance sampling has to find; KL(q | p) is
log Z - ELBO, the ELBO over 50,000 samples. shapes: `fit` at its defaults; the true entropy is the ceiling.
Results go to `benchmarks/results/targets_<part>.json`, `.md` and `.png`.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import pushforward as pf
from pushforward.core.fields import count_parameters

RESULTS = Path(__file__).resolve().parent.parent / "results"
STEPS, BATCH, RATE, ANNEALING, N_IMPORTANCE = 4000, 256, 1e-2, 0.5, 50_000
REACH, CELLS = 6.0, 1500
SEEDS = (0, 1, 2)

TARGET_FLOWS: dict[str, Any] = {
    "planar, K = 2": lambda key: pf.planar_flow(2, n_layers=2, key=key),
    "planar, K = 8": lambda key: pf.planar_flow(2, n_layers=8, key=key),
    "planar, K = 32": lambda key: pf.planar_flow(2, n_layers=32, key=key),
    "planar leaky, K = 32": lambda key: pf.planar_flow(2, n_layers=32, nonlinearity="leaky_relu", key=key),
    "radial, K = 32": lambda key: pf.radial_flow(2, n_layers=32, key=key),
    "Sylvester, K = 16": lambda key: pf.sylvester_flow(2, n_layers=16, key=key),
    "IAF, 5 layers": lambda key: pf.iaf(2, n_layers=5, width=32, key=key),
    "NSF, 4 layers": lambda key: pf.nsf(2, n_layers=4, width=32, key=key),
}
DATA_FLOWS: dict[str, Any] = {
    "planar, K = 32": lambda key: pf.planar_flow(2, n_layers=32, key=key),
    "radial, K = 32": lambda key: pf.radial_flow(2, n_layers=32, key=key),
    "Sylvester, K = 16": lambda key: pf.sylvester_flow(2, n_layers=16, key=key),
    "NSF": lambda key: pf.nsf(2, key=key),
}
N_TRAIN, N_TEST = 20_000, 20_000


def quadrature(name: str) -> float:
    """log Z of a walled energy over the square."""
    middles = (np.arange(CELLS) + 0.5) * (2 * REACH / CELLS) - REACH
    with jax.enable_x64(True):
        points = np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2)
        values = np.asarray(jax.jit(jax.vmap(pf.datasets.potential(name)))(points))
    highest = values.max()
    return float(highest + np.log(np.exp(values - highest).sum() * (2 * REACH / CELLS) ** 2))


def potentials() -> dict[str, Any]:
    rows, pictures = [], {}
    truth = {name: quadrature(name) for name in pf.datasets.POTENTIAL_NAMES}
    for flow_name, make in TARGET_FLOWS.items():
        for target, log_z in truth.items():
            runs = [_fitted(make, target, log_z, seed) for seed in SEEDS]
            pictures[flow_name, target] = runs[0][0]
            row = {"flow": flow_name, "target": target, "log_z": log_z, "runs": [run[1] for run in runs]}
            print(flow_name, target, [round(run["kl"], 4) for run in row["runs"]], flush=True)
            rows.append(row)
    _target_picture(pictures)
    return {
        "rows": rows, "steps": STEPS, "batch": BATCH, "learning_rate": RATE, "annealing": ANNEALING,
        "n_importance": N_IMPORTANCE,
    }  # fmt: skip


def _fitted(make: Any, target: str, log_z: float, seed: int) -> tuple[pf.Flow, dict[str, Any]]:
    start = time.perf_counter()
    flow, history = pf.fit_target(
        make(seed), pf.datasets.potential(target), key=seed, steps=STEPS, batch_size=BATCH, learning_rate=RATE,
        annealing=ANNEALING, n_importance=N_IMPORTANCE, progress=False,
    )  # fmt: skip
    importance = history.importance
    if importance is None:
        raise RuntimeError("an unconditional flow has an importance sample")
    return flow, {
        "seed": seed,
        "parameters": count_parameters(flow),
        "kl": log_z - importance.elbo,
        "log_z_error": importance.log_evidence - log_z,
        "log_z_standard_error": importance.log_evidence_error,
        "effective_share": importance.effective_sample_size / N_IMPORTANCE,
        "pareto_k": importance.pareto_k,
        "skipped_steps": history.skipped_steps,
        "seconds": round(time.perf_counter() - start, 1),
    }


def shapes() -> dict[str, Any]:
    rows, pictures = [], {}
    for shape in pf.datasets.TOY_NAMES:
        train, test = (pf.datasets.toy(shape, n, seed=seed) for n, seed in ((N_TRAIN, 0), (N_TEST, 1)))
        truth = np.asarray(pf.datasets.toy_log_density(shape, test), np.float64)
        row: dict[str, Any] = {"shape": shape, "truth": float(truth.mean()), "flows": {}}
        for name, make in DATA_FLOWS.items():
            flow, history = pf.fit(make(0), train, key=0, progress=False)
            scores = np.asarray(flow.log_prob(test), np.float64)
            samples, own = flow.sample_and_log_prob(2000, key=1)
            again = float(np.abs(np.asarray(flow.log_prob(samples)) - np.asarray(own)).max())
            error = float((truth - scores).std() / math.sqrt(N_TEST))
            row["flows"][name] = {
                "nats": float(scores.mean()), "below_truth": float((truth - scores).mean()), "error": error,
                "gaussian": history.gaussian, "parameters": count_parameters(flow),
                "fit_seconds": round(history.seconds[-1], 1), "two_ways": again,
            }  # fmt: skip
            pictures[name, shape] = flow
            print(shape, name, row["flows"][name], flush=True)
        rows.append(row)
    _data_picture(pictures)
    return {"rows": rows, "n_train": N_TRAIN, "n_test": N_TEST}


def _grid(reach: float, cells: int = 200) -> np.ndarray:
    middles = (np.arange(cells) + 0.5) * (2 * reach / cells) - reach
    return np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2)


def _panels(columns: list[str], lines: list[str], values: dict[tuple[int, int], np.ndarray], name: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.7 * len(columns), 1.75 * len(lines)), layout="constrained")
    for (line, column), density in values.items():
        axes = figure.add_subplot(len(lines), len(columns), line * len(columns) + column + 1)
        side = math.isqrt(density.size)
        axes.imshow(density.reshape(side, side), origin="lower", cmap="viridis")
        axes.set_xticks([])
        axes.set_yticks([])
        if line == 0:
            axes.set_title(columns[column], fontsize=9)
        if column == 0:
            axes.set_ylabel(lines[line], fontsize=8)
    figure.savefig(RESULTS / f"{name}.png", dpi=80)


def _target_picture(flows: dict[tuple[str, str], pf.Flow]) -> None:
    columns, points = list(pf.datasets.POTENTIAL_NAMES), _grid(5.0)
    lines = ["target", *TARGET_FLOWS]
    values = {}
    for column, target in enumerate(columns):
        scores = np.asarray(jax.vmap(pf.datasets.potential(target))(points))
        values[0, column] = np.exp(scores - scores.max())
        for line, name in enumerate(TARGET_FLOWS, start=1):
            values[line, column] = np.exp(np.asarray(flows[name, target].log_prob(points)))
    _panels(columns, lines, values, "targets_potentials")


def _data_picture(flows: dict[tuple[str, str], pf.Flow]) -> None:
    columns, points = list(pf.datasets.TOY_NAMES), _grid(4.5)
    values = {}
    for column, shape in enumerate(columns):
        values[0, column] = np.exp(pf.datasets.toy_log_density(shape, points))
        for line, name in enumerate(DATA_FLOWS, start=1):
            values[line, column] = np.exp(np.asarray(flows[name, shape].log_prob(points)))
    _panels(columns, ["truth", *DATA_FLOWS], values, "targets_shapes")


def potentials_page(result: dict[str, Any]) -> list[str]:
    targets = list(dict.fromkeys(row["target"] for row in result["rows"]))
    names = list(dict.fromkeys(row["flow"] for row in result["rows"]))
    by = {(row["flow"], row["target"]): row for row in result["rows"]}

    def spread(runs: list[dict], key: str, digits: int = 3) -> str:
        values = sorted(run[key] for run in runs)
        return f"{values[len(values) // 2]:.{digits}f} ({values[0]:.{digits}f} to {values[-1]:.{digits}f})"

    lines = [
        f"{result['steps']} steps of {result['batch']} samples, Adam at {result['learning_rate']:g} falling to zero, "
        f"the target's power rising over the first {result['annealing']:.0%} of the steps, path derivative; medians "
        f"over {len(SEEDS)} seeds (least to greatest). {result['n_importance']:,} samples for the estimates.",
        "",
        "log Z by quadrature: " + ", ".join(f"{t} {by[names[0], t]['log_z']:.4f}" for t in targets) + ".",
        "",
    ]
    for title, key, digits in (
        ("KL(q | p) in nats", "kl", 3),
        ("log Z by importance sampling, less that by quadrature", "log_z_error", 4),
        ("Effective sample size, as a share of the samples", "effective_share", 3),
        ("Pareto k of the weights (with 100 effective samples, up to 0.7 can be trusted)", "pareto_k", 2),
    ):
        lines += [
            f"## {title}",
            "",
            f"| flow | parameters | {' | '.join(targets)} |",
            "| --- " * (2 + len(targets)) + "|",
        ]
        for name in names:
            cells = [spread(by[name, target]["runs"], key, digits) for target in targets]
            lines.append(f"| {name} | {by[name, targets[0]]['runs'][0]['parameters']:,} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def shapes_page(result: dict[str, Any]) -> list[str]:
    names = list(DATA_FLOWS)
    lines = [
        f"{result['n_train']:,} rows to fit (`fit` at its defaults), {result['n_test']:,} held out. Nats below the "
        "true density's own, with the standard error of the difference.",
        "",
        f"| shape | truth | {' | '.join(names)} |",
        "| --- " * (2 + len(names)) + "|",
    ]
    for row in result["rows"]:
        cells = [f"{row['flows'][n]['below_truth']:.3f} +- {row['flows'][n]['error']:.3f}" for n in names]
        lines.append(f"| {row['shape']} | {row['truth']:.3f} | {' | '.join(cells)} |")
    worst = max(cell["two_ways"] for row in result["rows"] for cell in row["flows"].values())
    sizes = ", ".join(f"{n} {result['rows'][0]['flows'][n]['parameters']:,}" for n in names)
    return [
        *lines, "", f"Parameters: {sizes}.", "",
        f"Scores of 2,000 samples from `sample_and_log_prob` and from `log_prob` differ by {worst:.1e} at most.",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("potentials", "shapes"), required=True)
    part = parser.parse_args().part
    result = {"potentials": potentials, "shapes": shapes}[part]()
    body = {"potentials": potentials_page, "shapes": shapes_page}[part](result)
    title = {"potentials": "Flows fitted to four energies", "shapes": "Flows of few parameters fitted to data"}[part]
    command = f"python benchmarks/quality/targets.py --part {part}"
    (RESULTS / f"targets_{part}.json").write_text(json.dumps({"command": command, **result}, indent=1) + "\n")
    page = [f"# {title}", "", f"Made by `{command}`.", "", *body]
    (RESULTS / f"targets_{part}.md").write_text("\n".join(page).rstrip() + "\n")


if __name__ == "__main__":
    main()
