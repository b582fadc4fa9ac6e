"""All benchmarks by one command: `python benchmarks/run.py [--only PART] [--quick]`, parts as in `PARTS`.

Makes the environments if they are not there, measures, and writes `benchmarks/results/<name>.json` and `.md`. With
`--quick` everything runs once and briefly, into `benchmarks/results/quick/`: a check that it works, not a measurement.
With `--accelerator` the libraries are those of the interpreter that runs this, on its GPU, and the workloads are
`workloads.ACCELERATOR`; into `benchmarks/results/accelerator/`.
"""

import argparse
import datetime
import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import compile_times
import environments
import fit
import growth
import residual
import speed
import tables
from driver import WORKERS, library, say, write_json
from workloads import ACCELERATOR, COMPILED, FIT_BAR, IMAGES, LAWS, QUICK

PARTS = ("speed", "laws", "residual", "images", "fit", "compile", "growth")
RESULTS = environments.HERE / "results"
Body = Callable[[dict], list[str]]
Save = Callable[[str, dict, Body], str]
QUIET_LOAD = 0.25  # of one core, averaged over a minute: above it, the figures are not to be trusted


def main() -> int:
    parser = argparse.ArgumentParser(description="Speed, fits, compilation and growth compared with other libraries.")
    parser.add_argument("--only", choices=PARTS, action="append", help="run just this part")
    parser.add_argument("--quick", action="store_true", help="once and briefly: does it work?")
    parser.add_argument("--accelerator", action="store_true", help="speed of this interpreter's libraries on its GPU")
    parser.add_argument("--workloads", help="with --accelerator: comma-separated names (default: all)")
    parser.add_argument("--peers", help="comma-separated other libraries (default: all)")
    parser.add_argument("--rounds", type=int, help="rounds (default 9, of compile 3, on a GPU 5; quick 1)")
    options = parser.parse_args()
    parts = options.only or (["speed"] if options.accelerator else list(PARTS))
    if options.accelerator:
        if parts != ["speed"] or options.quick:
            parser.error("--accelerator measures speed alone, and not briefly: leave --only and --quick out.")
        unknown = set((options.workloads or "").split(",")) - {"", *(one.name for one in ACCELERATOR)}
        if unknown:
            known = ", ".join(one.name for one in ACCELERATOR)
            parser.error(f"--workloads: unknown {', '.join(sorted(unknown))}; expected some of {known}.")
        environments.use_accelerator()
    elif options.workloads:
        parser.error("--workloads: chooses among those of --accelerator: add that, or leave it out.")

    workers, failed, versions = _prepare(options.peers, with_peers=parts != ["compile"])
    machine = environments.machine()
    head: dict = {
        "command": environments.command("run.py"),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine,
        "versions": versions,
    }
    if options.accelerator:
        head["machine"]["accelerator"] = _accelerator()
    notes = []
    if options.quick:
        notes.append("A quick run: it shows that everything works, the figures mean little.")
    if (load := machine["load_before"]) > QUIET_LOAD:
        notes.append(f"The machine was busy (load {load:.2f}): the figures mean little. Run again when it is quiet.")
    if notes:
        head["note"] = " ".join(notes)
        say(head["note"])

    folder = RESULTS / ("quick" if options.quick else "accelerator" if options.accelerator else "")
    ok = True
    for part in parts:
        save = functools.partial(_save, folder, head | {"name": part})
        title, result, body = _part(part, workers, failed, options, save)
        print(save(title, result, body))
        ok &= not any(one["library"] == "pushforward" for one in result["failures"])
    return 0 if ok else 1


def _save(folder: Path, head: dict, title: str, result: dict, body: Body) -> str:
    """Write the result as data and as a page; the page."""
    result = head | result
    write_json(folder / f"{result['name']}.json", result)
    text = tables.page(title, result, body(result))
    (folder / f"{result['name']}.md").write_text(text)
    return text


def _part(part: str, workers: list[str], failed: dict[str, str], options: argparse.Namespace, save: Save) -> tuple:
    quick = options.quick
    if part == "speed":
        if options.accelerator:
            named = options.workloads.split(",") if options.workloads else [one.name for one in ACCELERATOR]
            chosen = tuple(one for one in ACCELERATOR if one.name in named)
            title, body = "Speed on an accelerator", tables.speed
            # Compilation takes minutes: results are saved after each workload, in case the run is interrupted.
            result = speed.run(
                workers, failed, options.rounds or 5, workloads=chosen, after_each=lambda now: save(title, now, body)
            )
            return title, result, body
        if quick:
            result = speed.run(workers, failed, options.rounds or 1, visit=0.02, workloads=QUICK)
        else:
            result = speed.run(workers, failed, options.rounds or 9)
        return "Speed", result, tables.speed
    if part == "laws":
        if quick:
            result = speed.run(workers, failed, options.rounds or 1, visit=0.02, workloads=LAWS)
        else:
            result = speed.run(workers, failed, options.rounds or 9, workloads=LAWS)
        return "Laws without a formula for their inverse", result, tables.speed
    if part == "images":
        some = [name for name in workers if name in ("ours", "normflows_peer")]
        result = speed.run(some, failed, options.rounds or (1 if quick else 9), 0.02 if quick else 0.3, IMAGES)
        return "Glow", result, tables.speed
    if part == "residual":
        result = residual.run(workers, failed, options.rounds or (1 if quick else 9), 0.02 if quick else 0.3)
        return "Residual flows", result, tables.residual
    if part == "growth":
        if quick:
            result = growth.run(workers, failed, options.rounds or 1, visit=0.02, dims=growth.DIMS[:3])
        else:
            result = growth.run(workers, failed, options.rounds or 9)
        return "Growth of the sampling time", result, tables.growth
    if part == "fit":
        result = fit.run(workers, failed, seeds=1 if quick else 3, budget=8.0 if quick else 60.0, default_only=quick)
        return "Whole fits", result | {"bar": FIT_BAR}, tables.fit
    ours = {name: reason for name, reason in failed.items() if name == "ours"}
    rounds = options.rounds or (1 if quick else 3)
    return "Compilation", compile_times.run(ours, rounds, COMPILED[:2] if quick else COMPILED), tables.compile_times


def _accelerator() -> str:
    """The name of the device that JAX finds, from a separate process, so that this one allocates no memory there."""
    ask = "import jax; print(jax.devices()[0].platform, jax.devices()[0].device_kind)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    device = done.stdout.strip()
    if done.returncode != 0 or device.startswith("cpu"):
        raise SystemExit(f"--accelerator: JAX finds none in this interpreter ({device or 'it does not start'}).")
    return device.split(" ", 1)[1]


def _prepare(peers: str | None, with_peers: bool) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Environments made, workers that can be started, what failed to install, versions."""
    names = list(WORKERS) if with_peers else ["ours"]
    if peers is not None:
        known = {library(name): name for name in WORKERS}
        asked = [name for name in peers.split(",") if name]
        if unknown := [name for name in asked if name not in known]:
            raise SystemExit(f"--peers: unknown {', '.join(unknown)}; expected some of {', '.join(known)}.")
        names = ["ours", *(known[name] for name in asked if known[name] != "ours")]
    failed: dict[str, str] = {}
    versions: dict[str, str] = {}
    for name in dict.fromkeys(WORKERS[worker] for worker in names):
        failed |= environments.build(name)
        for package, version in environments.versions(name).items():
            # The two JAX environments are asked for the same releases; a difference is shown.
            label = package if versions.get(package, version) == version else f"{package} ({name})"
            versions[label] = version
    if "torch" in failed:
        failed |= {library(worker): failed["torch"] for worker in names if WORKERS[worker] == "torch"}
    running = [name for name in names if library(name) not in failed and name not in failed]
    return running, failed, versions


if __name__ == "__main__":
    sys.exit(main())
