"""Log-likelihoods of autoregressive flows, and their limits.

    python benchmarks/quality/autoregressive.py --part order     # one order cannot make two modes; reversal can
    python benchmarks/quality/autoregressive.py --part power     # household power, with the coupling flows

order: x2 ~ N(0, 4), x1 | x2 ~ N(x2^2 / 4, 1), modelled in the order (x1, x2): p(x2 | x1) has two modes for x1 > 1
(the example of Papamakarios, Pavlakou & Murray 2017, figure 1). The true density is an upper bound.
power: `pushforward.datasets.household_power()`, all flows at the defaults of their recipe and of `fit`, and what was
changed to see why one lags. Results go to `benchmarks/results/autoregressive_<part>.json` and `.md`.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

import pushforward as pf
from pushforward.core.fields import count_parameters

RESULTS = Path(__file__).resolve().parent.parent / "results"
N_TRAIN, N_TEST = 20_000, 20_000
AT = (0.0, 2.0, 4.0, 6.0)  # values of x1 at which the modes of p(x2 | x1) are counted

ORDER_FLOWS = {
    "one layer": {"n_layers": 1, "order": "same"},
    "five layers, same order": {"n_layers": 5, "order": "same"},
    "five layers, reversed in turn": {"n_layers": 5, "order": "reverse"},
}
POWER_FLOWS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "nsf": ("nsf", {}, {}),
    "real_nvp": ("real_nvp", {}, {}),
    "maf": ("maf", {}, {}),
    "nsf_ar": ("nsf_ar", {}, {}),
    "maf_mog": ("maf_mog", {}, {}),
    "made_mog": ("made_mog", {}, {}),
    "maf, 10 layers": ("maf", {"n_layers": 10}, {}),
    "nsf_ar, random orders": ("nsf_ar", {"order": "random"}, {}),
    "nsf_ar, rate 2e-3": ("nsf_ar", {}, {"learning_rate": 2e-3}),
    "nsf_ar, 3 layers": ("nsf_ar", {"n_layers": 3}, {}),
}


def bimodal(n: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    x2 = 2.0 * random.standard_normal(n)
    return np.stack([x2**2 / 4 + random.standard_normal(n), x2], 1)


def bimodal_log_density(x: np.ndarray) -> np.ndarray:
    first = -0.5 * (x[:, 0] - x[:, 1] ** 2 / 4) ** 2 - 0.5 * math.log(2 * math.pi)
    return first - x[:, 1] ** 2 / 8 - 0.5 * math.log(8 * math.pi)


def n_modes(log_prob: Any, x1: float) -> int:
    """Local maxima of p(x2 | x1) on a grid, those below a hundredth of the highest left out."""
    x2 = np.linspace(-7.0, 7.0, 561)
    p = np.exp(np.asarray(log_prob(np.stack([np.full_like(x2, x1), x2], 1)), np.float64))
    inner = (p[1:-1] > p[:-2]) & (p[1:-1] >= p[2:]) & (p[1:-1] > 0.01 * p.max())
    return int(inner.sum())


def order() -> dict[str, Any]:
    train, test = bimodal(N_TRAIN, 0), bimodal(N_TEST, 1)
    rows = [{"flow": "true density", **_judged(bimodal_log_density, test)}]
    pictures = [("true density", bimodal_log_density)]
    for name, options in ORDER_FLOWS.items():
        flow, history = pf.fit(pf.maf(dim=2, width=64, key=0, **options), train, key=0, progress=False)
        rows.append({"flow": name, **_judged(flow.log_prob, test), "fit_seconds": round(history.seconds[-1], 1)})
        pictures.append((name, flow.log_prob))
    _picture(pictures)
    return {"rows": rows, "n_train": N_TRAIN, "n_test": N_TEST, "modes_counted_at_x1": AT}


def _judged(log_prob: Any, test: np.ndarray) -> dict[str, Any]:
    scores = np.asarray(log_prob(test), np.float64)
    error = scores.std() / math.sqrt(len(scores))
    modes = [n_modes(log_prob, x1) for x1 in AT]
    return {
        "test_log_likelihood": round(float(scores.mean()), 4),
        "standard_error": round(float(error), 4),
        "modes": modes,
    }


def _picture(pictures: list[tuple[str, Any]]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    x1, x2 = np.linspace(-3, 10, 240), np.linspace(-6, 6, 240)
    points = np.stack(np.meshgrid(x1, x2), -1).reshape(-1, 2)
    for axes, (name, log_prob) in zip(figure.subplots(1, len(pictures), sharey=True), pictures, strict=True):
        p = np.exp(np.asarray(log_prob(points), np.float64)).reshape(240, 240)
        axes.pcolormesh(x1, x2, p, cmap="magma", vmin=0, vmax=0.11, rasterized=True)
        axes.set(title=name, xlabel="x1")
    figure.axes[0].set_ylabel("x2")
    figure.savefig(RESULTS / "autoregressive_order.png", dpi=110)


def power(names: list[str]) -> dict[str, Any]:
    data = pf.datasets.household_power()
    path = RESULTS / "autoregressive_power.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [row for row in rows if row["flow"] not in names]
    for name in names:
        recipe, options, training = POWER_FLOWS[name]
        start = getattr(pf, recipe)(dim=data.train.shape[1], key=0, **options)
        began = time.perf_counter()
        flow, history = pf.fit(start, data.train, key=0, validation=data.validation, progress=False, **training)
        fitted = time.perf_counter() - began
        scores = np.asarray(flow.log_prob(data.test), np.float64)
        rows.append(
            {
                "flow": name,
                "test_log_likelihood": round(float(scores.mean()), 3),
                "standard_error": round(float(scores.std() / math.sqrt(len(scores))), 3),
                "train_nats": round(float(np.mean(flow.log_prob(data.train[:5000]))), 3),
                "validation_log_likelihood": round(max(history.validation), 3),
                "fit_seconds": round(fitted, 1),
                "parameters": count_parameters(flow),
            }
        )
        print(rows[-1], flush=True)
    return {"rows": sorted(rows, key=lambda row: -row["test_log_likelihood"])}


def write(name: str, command: str, result: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"command": command, **result}, indent=1) + "\n")
    columns = list(dict.fromkeys(column for row in result["rows"] for column in row))
    lines = [f"# {name.replace('_', ' ')}", "", f"Made by `{command}`.", "", "| " + " | ".join(columns) + " |"]
    lines += ["|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(row.get(column, "")) for column in columns) + " |" for row in result["rows"]]
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description="Nats of autoregressive flows.")
    parser.add_argument("--part", choices=("order", "power"), required=True)
    parser.add_argument("--flows", help="semicolon-separated names of the power part (default: all)")
    options = parser.parse_args()
    command = f"python benchmarks/quality/autoregressive.py --part {options.part}"
    if options.part == "order":
        write("autoregressive_order", command, order())
    else:
        names = options.flows.split(";") if options.flows else list(POWER_FLOWS)
        write("autoregressive_power", command, power(names))


if __name__ == "__main__":
    main()
