"""Distillation: the fidelity of students, and their speed compared with a cached sampler.

    python benchmarks/quality/distillation.py --part shapes     # eight shapes: MAF to IAF, spline MAF to coupling
    python benchmarks/quality/distillation.py --part modes      # 4 and 8 modes, spline teacher, 8-layer students
    python benchmarks/quality/distillation.py --part power      # the household-power sample
    python benchmarks/quality/distillation.py --part tried      # what helps where a default student has ESS / N < 0.5
    python benchmarks/quality/distillation.py --part affine     # one affine layer into its inverse flow
    python benchmarks/quality/distillation.py --part speed      # sampling: naive, cached, student; D = 8 to 8,000

Teachers are fitted by `fit`, students by `distill`, all with default settings unless a row says otherwise. Results go
to `benchmarks/results/distillation_<part>.json` and `.md`.
"""

import argparse
import functools
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import pushforward as pf
from pushforward.datasets import household_power
from pushforward.datasets.toy import TOY_NAMES, toy

RESULTS = Path(__file__).resolve().parent.parent / "results"
ROWS = 20_000


def row(name: str, teacher: Any, student: Any, test: np.ndarray, **options: Any) -> dict[str, Any]:
    """Distil, and say what came of it."""
    start_time = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        student, fidelity_report = pf.distill(teacher, student, key=0, progress=False, **options)
    seconds = time.perf_counter() - start_time
    figures = {key: value for key, value in fidelity_report.to_dict().items() if key != "history"}
    return {
        "name": name, "teacher_nats": nats(teacher, test), "student_nats": nats(student, test), "seconds": seconds,
        "best_block": fidelity_report.history.best_block, "doubts": fidelity_report.doubts(), **figures,
    }  # fmt: skip


def nats(flow: Any, x: np.ndarray) -> float:
    return float(np.mean(np.asarray(flow.log_prob(x), np.float64)))


def taught(flow: Any, x: np.ndarray, **options: Any) -> Any:
    return pf.fit(flow, x, key=0, progress=False, **options)[0]


def run_shapes() -> list[dict[str, Any]]:
    rows = []
    for shape in TOY_NAMES:
        x, test = toy(shape, ROWS, seed=1), toy(shape, ROWS, seed=2)
        rows.append(row(f"{shape}: maf -> iaf", taught(pf.maf(dim=2, key=0), x), pf.iaf(dim=2, key=1), test))
        rows.append(row(f"{shape}: nsf_ar -> nsf", taught(pf.nsf_ar(dim=2, key=0), x), pf.nsf(dim=2, key=1), test))
        print(rows[-2], rows[-1], sep="\n", flush=True)
    return rows


def run_modes() -> list[dict[str, Any]]:
    rows = []
    for n_modes in (4, 8):
        angle = 2 * np.pi * np.arange(n_modes) / n_modes
        places = 3 * np.stack([np.cos(angle), np.sin(angle)], 1)
        x, test = (
            places[random.integers(0, n_modes, ROWS)] + 0.4 * random.normal(size=(ROWS, 2))
            for random in (np.random.default_rng(1), np.random.default_rng(2))
        )
        teacher = taught(pf.nsf_ar(dim=2, key=0), x)
        students: dict[str, Callable[[], Any]] = {
            "nsf, 8 layers": lambda: pf.nsf(dim=2, n_layers=8, key=1),
            "spline iaf, 8 layers": lambda: pf.iaf(dim=2, n_layers=8, transformer="rational_quadratic", key=1),
            "iaf, 8 layers": lambda: pf.iaf(dim=2, n_layers=8, key=1),
        }
        for name, build in students.items():
            rows.append(row(f"{n_modes} modes: nsf_ar -> {name}", teacher, build(), test))
            print(rows[-1], flush=True)
    return rows


def run_power() -> list[dict[str, Any]]:
    data, rows = household_power(), []
    dim = data.train.shape[1]
    teachers = {
        name: taught(getattr(pf, name)(dim=dim, key=0), data.train, validation=data.validation)
        for name in ("maf", "nsf_ar")
    }
    jobs: list[tuple[str, str, Any, dict[str, Any]]] = [
        ("maf", "iaf", pf.iaf(dim=dim, key=1), {}),
        ("maf", "iaf", pf.iaf(dim=dim, key=1), {"steps": 16_000}),
        ("maf", "iaf, random order", pf.iaf(dim=dim, key=1, order="random"), {}),
        ("maf", "nsf", pf.nsf(dim=dim, key=1), {}),
        ("nsf_ar", "nsf", pf.nsf(dim=dim, key=1), {}),
        ("nsf_ar", "nsf", pf.nsf(dim=dim, key=1), {"steps": 16_000}),
    ]
    for teacher, name, student, options in jobs:
        said = "".join(f", {key} {value:,}" for key, value in options.items())
        rows.append(row(f"{teacher} -> {name}{said}", teachers[teacher], student, data.test, **options))
        print(rows[-1], flush=True)
    return rows


def run_tried() -> list[dict[str, Any]]:
    """Affine teachers whose affine students are poor by default settings, and what was tried."""
    rows, power = [], household_power()
    for shape in ("spirals", "checkerboard", "eight_gaussians", "household power"):
        if shape == "household power":
            x, test, options = power.train, power.test, {"validation": power.validation}
        else:
            x, test, options = toy(shape, ROWS, seed=1), toy(shape, ROWS, seed=2), {}
        dim = x.shape[1]
        teacher = taught(pf.maf(dim=dim, key=0), x, **options)
        affine, spline = (
            functools.partial(pf.iaf, dim=dim, key=1, **more) for more in ({}, {"transformer": "rational_quadratic"})
        )
        trials: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
            "16,000 steps": (affine, {"steps": 16_000}),
            "half and half": (affine, {"forward": 0.5}),
            "forward divergence alone": (affine, {"forward": 1.0}),
            "twice the layers": (functools.partial(affine, n_layers=10), {}),
            "spline transformer": (spline, {}),
            "spline transformer, 16,000 steps": (spline, {"steps": 16_000}),
        }
        for name, (build, more) in trials.items():
            rows.append(row(f"{shape}: maf -> iaf, {name}", teacher, build(), test, **more))
            print(rows[-1], flush=True)
    return rows


def run_affine() -> list[dict[str, Any]]:
    rows = []
    for shape in ("two_bananas", "moons", "pinwheel"):
        x, test = toy(shape, ROWS, seed=1), toy(shape, ROWS, seed=2)
        teacher = taught(pf.maf(dim=2, n_layers=1, order="same", key=0), x)
        for steps in (4000, 8000):
            student, options = pf.iaf(dim=2, n_layers=1, order="same", key=1), {"steps": steps, "n_fidelity": 100_000}
            rows.append(row(f"{shape}: one affine layer, {steps:,} steps", teacher, student, test, **options))
            print(rows[-1], flush=True)
    return rows


def run_speed() -> list[dict[str, Any]]:
    """Seconds for `n` samples; medians of three to five calls, compilation aside. Fresh weights: they cost the same."""
    rows = []
    for dim in (8, 32, 128, 512):
        n, naive = 512, pf.maf(dim=dim, width=256, key=0, method="sequential")
        rows.append({
            "dim": dim, "n": n, "naive": seconds(naive, n),
            "cached": seconds(pf.maf(dim=dim, width=256, key=0, method="cached"), n),
            "student": seconds(pf.iaf(dim=dim, width=256, key=1), n),
        })  # fmt: skip
        print(rows[-1], flush=True)
    for n in (1, 8):
        teacher = pf.wavenet(dim=8000, width=32, depth=20, n_components=8, key=0)
        student = pf.parallel_wavenet(dim=8000, width=32, depth=10, n_layers=2, key=1)
        rows_of_zeros = np.zeros((n, 8000), np.float32)
        one_pass = seconds_of(functools.partial(teacher.log_prob, rows_of_zeros))
        rows.append({
            "dim": 8000, "n": n, "naive": 8000 * one_pass, "cached": seconds(teacher, n),
            "student": seconds(student, n),
            "remark": "wavenet; naive is 8,000 times one pass of the teacher",
        })  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def seconds(flow: Any, n: int) -> float:
    return seconds_of(lambda: flow.sample(n, key=0))


def seconds_of(call: Callable[[], Any]) -> float:
    jax.block_until_ready(call())
    durations = []
    for _ in range(5):
        start_time = time.perf_counter()
        jax.block_until_ready(call())
        durations.append(time.perf_counter() - start_time)
        if sum(durations) > 60 and len(durations) >= 3:
            break
    return float(np.median(durations))


def page(part: str, result: dict[str, Any]) -> str:
    lines = [f"# Distillation: {part}", "", f"Made by `{result['command']}`.", ""]
    if part == "speed":
        lines += [
            "| D | samples | naive (ms) | cached (ms) | student (ms) | naive / cached | cached / student | |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for line in result["rows"]:
            times = [line[name] for name in ("naive", "cached", "student")]
            cells = [f"{line['dim']:,}", str(line["n"]), *(f"{1e3 * value:,.1f}" for value in times)]
            cells += [f"{times[0] / times[1]:.1f}", f"{times[1] / times[2]:.1f}", line.get("remark", "")]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"
    head = ["", "teacher", "student", "KL(s, t)", "KL(t, s)", "ESS / N", "Pareto k", "modes", "worst share", "seconds"]
    lines += [
        "Test nats of teacher and student; divergences in nats with standard errors, `s` student and `t` teacher.", "",
        "| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |",
    ]  # fmt: skip
    for line in result["rows"]:
        worst = max((abs(mode["off"]) for mode in line["modes"]), default=0.0)
        cells = [
            line["name"], f"{line['teacher_nats']:.3f}", f"{line['student_nats']:.3f}",
            f"{line['reverse_kl']:.3g} +- {line['reverse_kl_error']:.2g}",
            f"{line['forward_kl']:.3g} +- {line['forward_kl_error']:.2g}", f"{line['efficiency']:.3f}",
            f"{line['pareto_k']:.2f}", str(len(line["modes"])), f"{worst:.0%}", f"{line['seconds']:.0f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parts = {
        "shapes": run_shapes, "modes": run_modes, "power": run_power, "tried": run_tried, "affine": run_affine,
        "speed": run_speed,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=tuple(parts), required=True)
    part = parser.parse_args().part
    result = {"command": f"python benchmarks/quality/distillation.py --part {part}", "rows": parts[part]()}
    (RESULTS / f"distillation_{part}.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / f"distillation_{part}.md").write_text(page(part, result))


if __name__ == "__main__":
    main()
