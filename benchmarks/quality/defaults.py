"""How the defaults of the recipes and of `fit` were chosen: one factor changed at a time, test log-likelihoods.

    python benchmarks/quality/defaults.py --stage plane      # 2-D shapes
    python benchmarks/quality/defaults.py --stage power      # 6 columns, 40,000 rows
    python benchmarks/quality/defaults.py --stage small      # tables of 142 to 1,437 rows

Runs that are in `benchmarks/results/defaults.json` already are not made again; `defaults.md` is written from it
after every run. Test rows are never seen by `fit`, which holds out its own validation rows as for any user.
Likelihoods do not
depend on how busy the machine is; seconds do, so the tables count steps, and the milliseconds of a step are measured
apart (`--stage cost`) in turn within one process.
"""

import argparse
import dataclasses
import json
import math
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import pushforward as pf
from pushforward.datasets import household_power, toy

RESULTS = Path(__file__).resolve().parent.parent / "results" / "defaults.json"
PLANE = ("moons", "rings", "checkerboard", "eight_gaussians")
SMALL = ("wine", "diabetes", "breast_cancer", "digits_20", "gaussian_30_5")
FIT_OPTIONS = ("batch_size", "learning_rate", "ema", "patience", "validation")
# The point from which one factor at a time was changed.
CENTRE = {"n_layers": 6, "width": 64, "depth": 2, "batch_size": 256, "learning_rate": 5e-3, "steps": 3000}


@dataclasses.dataclass(frozen=True)
class Setting:
    """A flow, and what differs from the centre."""

    flow: str
    change: tuple[tuple[str, Any], ...] = ()

    @property
    def label(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.change) or "centre"

    def options(self) -> dict[str, Any]:
        return CENTRE | dict(self.change)


def changes(flow: str, factors: dict[str, tuple]) -> list[Setting]:
    """The centre and every change of one factor."""
    return [Setting(flow)] + [Setting(flow, ((name, v),)) for name, values in factors.items() for v in values]


PLANE_FACTORS = {
    "bound": (3.0, 4.0), "learning_rate": (2e-3, 1e-2), "n_layers": (4,), "batch_size": (512,), "width": (128,),
    "activation": ("silu",), "depth": (1,), "ema": (0.99,), "steps": (6000,),
}  # fmt: skip
POWER_FACTORS = {"bound": (4.0,), "learning_rate": (2e-3,), "width": (128,)}
SMALL_FACTORS = {"learning_rate": (5e-4, 2e-3), "width": (32,), "n_layers": (4,)}
NARROW = ("bound", 4.0)
NARROW_SETTINGS = tuple(
    Setting("nsf", (NARROW, *more))
    for more in (
        (("learning_rate", 3e-3),), (("learning_rate", 3e-3), ("width", 128)), (("learning_rate", 2e-3),),
        (("learning_rate", 3e-3), ("n_layers", 4)), (("learning_rate", 3e-3), ("n_layers", 8)),
    )
)  # fmt: skip
HARD = ("rings", "checkerboard")  # the two shapes that tell settings apart
STAGES = {
    "plane": [(s, d) for s in changes("nsf", PLANE_FACTORS) for d in HARD],
    "narrow": [(s, d) for s in NARROW_SETTINGS for d in HARD],
    "plane_all": [(s, d) for s in changes("nsf", PLANE_FACTORS) for d in PLANE],
    "plane_real_nvp": [
        (s, d) for s in changes("real_nvp", {"n_layers": (8,), "learning_rate": (2e-3,), "width": (128,)}) for d in HARD
    ],
    "power": [(s, "power") for f in ("nsf", "real_nvp") for s in changes(f, POWER_FACTORS if f == "nsf" else {})],
    "small": [(s, d) for f in ("nsf", "real_nvp") for s in changes(f, SMALL_FACTORS) for d in SMALL],
}


def rows_of(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and test rows of a data set."""
    if name in PLANE:
        return toy(name, 10_000, seed=seed), toy(name, 10_000, seed=seed + 1000)
    if name == "power":
        power = household_power()
        return power.train, power.test
    random = np.random.default_rng(seed)
    if name == "gaussian_30_5":
        mixing = np.eye(5) + 0.5 * np.tri(5, k=-1)
        return random.standard_normal((30, 5)) @ mixing.T, random.standard_normal((5000, 5)) @ mixing.T
    rows = _table(name)
    order = random.permutation(len(rows))
    n_test = len(rows) // 5
    return rows[order[n_test:]], rows[order[:n_test]]


def _table(name: str) -> np.ndarray:
    from sklearn import datasets, decomposition

    if name == "digits_20":
        return decomposition.PCA(20, random_state=0).fit_transform(datasets.load_digits().data)
    rows = getattr(datasets, f"load_{name}")().data
    return np.delete(rows, 1, axis=1) if name == "diabetes" else rows  # column 1 is the sex: two values


def one_run(setting: Setting, data: str, seed: int) -> dict[str, Any]:
    """Train once; the log-likelihood of the test rows."""
    options = setting.options()
    steps = options.pop("steps")
    train, test = rows_of(data, seed)
    arguments = {name: options.pop(name) for name in FIT_OPTIONS if name in options}
    flow = getattr(pf, setting.flow)(dim=train.shape[1], key=seed, **options)
    n_validation = round(arguments.get("validation", 0.1) * len(train))
    pass_steps = (len(train) - n_validation) // min(arguments["batch_size"], len(train) - n_validation)
    epoch_steps = pass_steps * (math.ceil(50 / pass_steps) if pass_steps < 50 else 1)
    epochs = math.ceil(steps / epoch_steps)
    small = len(train) < 5000
    arguments.setdefault("patience", None if small else epochs)
    started = time.process_time()
    fitted, history = pf.fit(flow, train, key=seed, max_epochs=epochs, progress=False, **arguments)
    cpu = time.process_time() - started
    validation_curve = history.validation
    return {
        "flow": setting.flow, "change": setting.label, "data": data, "seed": seed,
        "test_log_likelihood": round(float(np.mean(np.asarray(fitted.log_prob(test), np.float64))), 4),
        "validation": round(history.best_validation, 4), "gaussian": round(history.gaussian, 4),
        "best_step": (history.best_epoch + 1) * epoch_steps, "steps": len(validation_curve) * epoch_steps,
        "validation_at": {str(s): round(max(validation_curve[: s // epoch_steps]), 4) for s in (300, 600, 1000, 2000)
                          if s // epoch_steps},
        "cpu_seconds": round(cpu, 1), "skipped": history.skipped_steps,
    }  # fmt: skip


def save(runs: list[dict[str, Any]]) -> None:
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "jax": jax.__version__}
    RESULTS.parent.mkdir(exist_ok=True)
    head = {"command": "python benchmarks/quality/defaults.py", "date": time.strftime("%Y-%m-%d"), "machine": machine}
    RESULTS.write_text(json.dumps(head | {"centre": CENTRE, "runs": runs}, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(page(runs, head))


def page(runs: list[dict[str, Any]], head: dict[str, Any]) -> str:
    """Nats gained over the centre, mean over seeds; one table for each flow and group of data sets."""
    lines = [
        "# The choice of defaults", "",
        f"Made by `{head['command']} --stage ...` on {head['date']}: {head['machine']['cores']} cores, JAX "
        f"{head['machine']['jax']}. Test nats of the centre ({', '.join(f'{k} {v}' for k, v in CENTRE.items())}), then "
        "what each change of one factor gains over it, same seeds; mean over seeds. Larger is better.", "",
    ]  # fmt: skip
    for flow in ("nsf", "real_nvp"):
        for group in (PLANE, ("power",), SMALL):
            lines += _table_of([r for r in runs if r["flow"] == flow and r["data"] in group], flow, group)
    return "\n".join(lines) + "\n"


def _table_of(runs: list[dict[str, Any]], flow: str, group: tuple[str, ...]) -> list[str]:
    if not runs:
        return []
    nats = {(r["change"], r["data"], r["seed"]): r["test_log_likelihood"] for r in runs}
    data = [d for d in group if any(r["data"] == d for r in runs)]
    lines = [f"## {flow}: {', '.join(data)}", "", "| change | " + " | ".join(data) + " | steps, mean |"]
    lines += ["| --- " * (len(data) + 2) + "|"]
    for change in dict.fromkeys(["centre", *(r["change"] for r in runs)]):
        cells = []
        for d in data:
            seeds = [s for (c, e, s) in nats if c == change and e == d and ("centre", d, s) in nats]
            gains = [nats[change, d, s] - (0 if change == "centre" else nats["centre", d, s]) for s in seeds]
            cells.append(f"{statistics.mean(gains):{'.3f' if change == 'centre' else '+.3f'}}" if gains else "")
        steps = statistics.mean(r["steps"] for r in runs if r["change"] == change)
        lines.append(f"| {change} | " + " | ".join(cells) + f" | {steps:.0f} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", choices=sorted(STAGES), required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default="", help="only changes that contain this text")
    arguments = parser.parse_args()
    runs = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else []
    for setting, data in STAGES[arguments.stage]:
        for seed in range(arguments.seeds):
            known = any(
                (r["flow"], r["change"], r["data"], r["seed"]) == (setting.flow, setting.label, data, seed)
                for r in runs
            )
            if known or arguments.only not in setting.label:
                continue
            run = one_run(setting, data, seed)
            runs = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else []
            runs.append(run)
            save(runs)
            print(json.dumps(run), flush=True)


if __name__ == "__main__":
    main()
