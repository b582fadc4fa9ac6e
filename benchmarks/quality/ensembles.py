"""Ensembles: eight flows fitted in one program against eight single fits, their mixture, and where they disagree.

    python benchmarks/quality/ensembles.py                  # moons and POWER, then the picture
    python benchmarks/quality/ensembles.py --data moons     # one of them

Every time is that of the call of `fit`, compilation included, in a process of its own: eight members in one program
("ensemble"), eight fits one after another in one process, which compiles once ("sequence"), and eight fits in a process
each ("fresh"; one is measured and counted eight times unless --all-fresh). They are run in turn, so that a change of
the machine's load changes all of them. Test rows are never seen by `fit`. Members start as given, because a single flow
that ends below a mixture of normals would be trained a second time.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).resolve().parent.parent / "results" / "ensembles.json"
PICTURE = RESULTS.with_suffix(".png")
N = 8
SETTINGS: dict[str, dict[str, Any]] = {
    "moons": {"dim": 2, "fit": {"max_epochs": 40, "start": "given"}},
    "power": {"dim": 6, "fit": {"max_epochs": 4, "start": "given"}},
}


def rows_of(data: str) -> tuple[np.ndarray, np.ndarray]:
    """Training and test rows."""
    from pushforward.datasets import household_power, toy

    if data == "power":
        power = household_power()
        return power.train, power.test
    return toy(data, 10_000, seed=0), toy(data, 10_000, seed=1)


def work(data: str, kind: str, path: str) -> None:
    """One measurement, in a process of its own: the seconds, and log-densities of the test rows."""
    import jax

    import pushforward as pf

    train, test = rows_of(data)
    options = {"progress": False, **SETTINGS[data]["fit"]}

    def build(key: Any) -> Any:
        return pf.nsf(SETTINGS[data]["dim"], key=key)

    keys, result = jax.random.split(jax.random.key(0), N), {}
    flows = pf.ensemble(build, N, key=0) if kind == "ensemble" else [build(key) for key in keys]
    started, cpu = time.perf_counter(), time.process_time()
    if kind == "ensemble":
        fitted, history = pf.fit(flows, train, key=0, **options)
        histories = history.members
    else:
        pairs = [pf.fit(flows[k], train, key=k, **options) for k in range(N if kind == "sequence" else 1)]
        fitted, histories = [flow for flow, _ in pairs], [history for _, history in pairs]
    result["seconds"], result["cpu_seconds"] = time.perf_counter() - started, time.process_time() - cpu
    result["epochs"] = [len(h.train) for h in histories]
    result["compile_seconds"] = (history if kind == "ensemble" else histories[0]).compile_seconds
    if kind == "ensemble":
        log_probs = np.asarray(fitted.log_probs(test), np.float64)
    else:
        log_probs = np.stack([np.asarray(flow.log_prob(test), np.float64) for flow in fitted])
    np.savez(path, log_probs=log_probs, result=json.dumps(result))
    if data == "moons" and kind == "ensemble":
        picture(fitted, train)


def picture(flows: Any, x: np.ndarray) -> None:
    """Density of the mixture and disagreement of its members over a square much larger than the data."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    axis = np.linspace(-3.5, 4.5, 161)
    grid = np.stack(np.meshgrid(axis, axis - 0.25), -1)
    density, disagreement = np.exp(np.asarray(flows.log_prob(grid))), np.asarray(flows.disagreement(grid))
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for axes_k, values, name, limit, colours in (
        (axes[0], density, "density of the mixture", None, "Blues"),
        (axes[1], disagreement, "disagreement: deviation of log p over 8 members, nats", 5.0, "Oranges"),
    ):
        image = axes_k.pcolormesh(axis, axis - 0.25, values, cmap=colours, vmin=0, vmax=limit, rasterized=True)
        axes_k.scatter(*x[:400].T, s=2, color="black", alpha=0.35, linewidths=0)
        axes_k.set(title=name, aspect="equal", xlabel="column 0", ylabel="column 1")
        figure.colorbar(image, ax=axes_k, extend="max" if limit else "neither")
    figure.savefig(PICTURE, dpi=90)


def run(data: str, kind: str) -> tuple[dict[str, Any], np.ndarray]:
    """A measurement by a new process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.npz"
        command = [sys.executable, __file__, "--work", data, kind, str(path)]
        subprocess.run(command, check=True, env={**os.environ, "JAX_PLATFORMS": "cpu"})
        stored = np.load(path)
        result = json.loads(str(stored["result"]))
        load = os.getloadavg()[0]
        print(f"{data:<8}{kind:<10}{result['seconds']:8.1f} s, CPU {result['cpu_seconds']:.1f} s, load {load:.1f}")
        return result | {"load": round(load, 1)}, stored["log_probs"]


def measure(data: str, repeats: int, all_fresh: bool, earlier: dict[str, Any] | None) -> dict[str, Any]:
    """All measurements of a data set, in turn, added to earlier ones with these settings."""
    runs: dict[str, list[dict[str, Any]]] = {"ensemble": [], "sequence": [], "fresh": []}
    if earlier is not None and earlier["fit"] == SETTINGS[data]["fit"]:
        runs = earlier["runs"]
    for _ in range(repeats):
        for kind in runs:
            for _ in range(N if kind == "fresh" and all_fresh else 1):
                result, log_probs = run(data, kind)
                runs[kind].append(result)
                if kind == "ensemble":
                    members = log_probs
    mixture = np.logaddexp.reduce(members, 0) - np.log(N)
    best = members[members.mean(1).argmax()]
    seconds = {kind: float(np.mean([r["seconds"] for r in results])) for kind, results in runs.items()}
    seconds["fresh"] *= N

    def stated(values: np.ndarray) -> list[float]:
        return [round(float(values.mean()), 4), round(float(values.std() / np.sqrt(len(values))), 4)]

    return {
        "data": data, "fit": SETTINGS[data]["fit"], "seconds": {k: round(v, 1) for k, v in seconds.items()},
        "ratio_to_sequence": round(seconds["ensemble"] / seconds["sequence"], 3),
        "ratio_to_fresh": round(seconds["ensemble"] / seconds["fresh"], 3),
        "members": [round(float(m.mean()), 4) for m in members], "best_member": stated(best),
        "mixture": stated(mixture), "gain_over_best": stated(mixture - best), "runs": runs,
    }  # fmt: skip


def page(results: list[dict[str, Any]], head: dict[str, Any]) -> str:
    """The tables."""
    lines = [
        "# Ensembles of eight", "",
        f"Made by `{head['command']}` on {head['date']}: {head['cores']} cores, JAX {head['jax']}. Default `nsf`; "
        "seconds of the calls of `fit`, compilation included, means over runs. Fresh: a process for each fit (one is "
        "run, times 8, unless --all-fresh).", "",
        "| data | ensemble, s | 8 fits in sequence, s | 8 fresh processes, s | ratio to sequence | ratio to fresh | "
        "the same in CPU time | load |", "| --- " * 8 + "|",
    ]  # fmt: skip
    for r in results:
        s, load = r["seconds"], max(run["load"] for runs in r["runs"].values() for run in runs)
        cpu = {kind: float(np.mean([run["cpu_seconds"] for run in runs])) for kind, runs in r["runs"].items()}
        in_cpu = f"{cpu['ensemble'] / cpu['sequence']:.3f} and {cpu['ensemble'] / cpu['fresh'] / N:.3f}"
        lines.append(
            f"| {r['data']} {r['fit'] or ''} | {s['ensemble']} | {s['sequence']} | {s['fresh']} | "
            f"{r['ratio_to_sequence']} | {r['ratio_to_fresh']} | {in_cpu} | {load} |"
        )
    lines += ["", "Test log-likelihoods, nats a row, with standard errors over the test rows.", ""]
    lines += ["| data | members | best member | mixture | mixture minus best member |", "| --- " * 5 + "|"]
    for r in results:
        best, mixture, gain = (f"{r[name][0]} +- {r[name][1]}" for name in ("best_member", "mixture", "gain_over_best"))
        lines.append(f"| {r['data']} | {min(r['members'])} to {max(r['members'])} | {best} | {mixture} | {gain} |")
    return "\n".join([*lines, "", "![Density and disagreement on two moons](ensembles.png)", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=sorted(SETTINGS), default=["moons", "power"])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--all-fresh", action="store_true", help="run all eight fits in fresh processes")
    parser.add_argument("--work", nargs=3, metavar=("DATA", "KIND", "PATH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(*arguments.work)
        return
    import jax

    head = {
        "command": "python benchmarks/quality/ensembles.py", "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(), "python": platform.python_version(), "jax": jax.__version__,
    }  # fmt: skip
    known = {r["data"]: r for r in json.loads(RESULTS.read_text())["results"]} if RESULTS.exists() else {}
    for data in arguments.data:
        known[data] = measure(data, arguments.repeats, arguments.all_fresh, known.get(data))
        results = [known[name] for name in SETTINGS if name in known]
        RESULTS.write_text(json.dumps(head | {"results": results}, indent=1) + "\n")
        RESULTS.with_suffix(".md").write_text(page(results, head))


if __name__ == "__main__":
    main()
