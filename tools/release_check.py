"""Build the release, look into it, and run it in empty environments.

    python tools/release_check.py                                        # this interpreter, highest and lowest versions
    python tools/release_check.py --python python3.11 python3.13         # some interpreters
    python tools/release_check.py --extras                               # also the size and the time of every extra

Needs `build` and `twine` (dependency group `release`). The wheel and the sdist stay in dist/. The table of extras is
written to benchmarks/results/install.*.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
RESULTS = ROOT / "benchmarks" / "results" / "install.json"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MEGABYTE = 1e6
LIMITS = {"wheel": 2.0, "sdist": 3.0}  # MB, compressed

# What a user does first: the estimator's example, a saved model, and the data that the wheel brings along.
# Warnings of pushforward are errors; those that dependencies raise about each other when they are imported are not.
EXAMPLE = """
import warnings
import equinox, jax, optax, numpy as np, sklearn
warnings.simplefilter("error")
import pushforward as pf
assert pf.__file__.startswith({prefix!r}), pf.__file__
x = np.random.default_rng(0).normal(size=(500, 2)) @ np.array([[1.0, 0.5], [0.0, 0.3]])
density = pf.FlowDensity(random_state=0, max_epochs=3).fit(x)
assert np.isfinite(density.score_samples(x[:5])).all() and density.sample(3).shape == (3, 2)
flow = pf.elementwise_flow(2, key=0)
pf.save("flow.safetensors", flow)
assert (pf.load("flow.safetensors").log_prob(x) == flow.log_prob(x)).all()
assert pf.datasets.household_power().train.shape[1] == 6
"""


def build() -> tuple[Path, Path]:
    """The wheel and the sdist, newly built; the wheel from the sdist, as an installer would."""
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(DIST), str(ROOT)], check=True)
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)], check=True)
    return wheel, sdist


def faults_of_contents(wheel: Path, sdist: Path) -> list[str]:
    """What is missing in the files of the release, or should not be there."""
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = archive.namelist()
        metadata = archive.read(next(name for name in in_wheel if name.endswith("METADATA"))).decode()
    with tarfile.open(sdist) as archive:
        in_sdist = [member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()]
    sources = {str(p.relative_to(ROOT / "src")) for p in (ROOT / "src").rglob("*") if p.is_file()}
    sources = {name for name in sources if "__pycache__" not in name}
    info = f"pushforward-{wheel.name.split('-')[1]}.dist-info"
    needed = [*sources, f"{info}/licenses/LICENSE", f"{info}/entry_points.txt"]
    faults = [f"wheel: {name} is missing" for name in needed if name not in in_wheel]
    faults += [f"wheel: {name} should not be in it" for name in in_wheel if not name.startswith((info, "pushforward/"))]
    needed = ["pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "PKG-INFO"]
    needed += [f"src/{name}" for name in sources]
    faults += [f"sdist: {name} is missing" for name in needed if name not in in_sdist]
    faults += [f"sdist: {name} should not be in it" for name in in_sdist if name not in (*needed, ".gitignore")]
    faults += faults_of_version(wheel.name.split("-")[1])
    for path, kind in ((wheel, "wheel"), (sdist, "sdist")):
        size = path.stat().st_size / MEGABYTE
        print(f"{kind:<8}{path.name:<44}{size:6.2f} MB")
        if size > LIMITS[kind]:
            faults.append(f"{kind}: expected at most {LIMITS[kind]} MB, got {size:.2f}")
    if "License-Expression: Apache-2.0" not in metadata:
        faults.append("wheel: the metadata do not state the licence")
    return faults


def faults_of_version(version: str) -> list[str]:
    """Files that name another version, or another day of it."""
    changes, citation = ((ROOT / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "CITATION.cff"))
    released = re.search(r"^## \[(\d.*?)\] - (\S+)", changes, re.MULTILINE)
    cited = dict(re.findall(r"^([\w-]+): *(\S+)$", citation, re.MULTILINE))
    expected = {"CHANGELOG.md": (version, released and released[1]), "CITATION.cff": (version, cited.get("version"))}
    faults = [f"{name}: expected version {want}, got {got}" for name, (want, got) in expected.items() if want != got]
    if released and released[2] != cited.get("date-released"):
        faults.append(f"CITATION.cff: expected {released[2]}, as in CHANGELOG.md, got {cited.get('date-released')}")
    return faults


def lowest() -> list[str]:
    """Every requirement of every extra at its lower bound."""
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    bounds = {line for group in groups for line in group if ">=" in line}
    return sorted(re.sub(r"^([\w-]+)>=([\d.]+).*$", r"\1==\2.*", line) for line in bounds)


def environment(python: str, folder: Path, requirements: Iterable[str], constraints: Iterable[str] = ()) -> Path:
    """A new environment with these packages; its interpreter."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    interpreter = folder / "bin" / "python"
    limits = folder / "constraints.txt"
    limits.write_text("\n".join(constraints) + "\n")
    command = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, "--constraint", str(limits), *requirements], check=True)
    return interpreter


def try_out(interpreter: Path, with_demo: bool) -> None:
    """Run the example of the estimator, and `pushforward demo`, in an empty folder."""
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PUSHFORWARD", "XLA", "JAX"))
    }
    folder = interpreter.parent.parent
    with tempfile.TemporaryDirectory() as work:
        run = {"check": True, "cwd": work, "env": clean, "capture_output": True, "text": True}
        subprocess.run([str(interpreter), "-c", EXAMPLE.format(prefix=str(folder))], **run)
        subprocess.run([str(interpreter.parent / "pushforward"), "doctor"], **run)
        subprocess.run([str(interpreter), "-m", "pushforward", "--version"], **run)
        if with_demo:
            subprocess.run([str(interpreter.parent / "pushforward"), "demo", "--quiet"], **run)
            names = {path.name for path in (Path(work) / "pushforward-demo").iterdir()}
            if names != {"model.safetensors", "samples.csv", "report.html"}:
                raise RuntimeError(f"pushforward demo: expected a model, samples and a report, got {sorted(names)}")


def versions_to_try(python: str) -> dict[str, list[str]]:
    """Constraints by name: the highest versions, and under the lowest Python the lowest versions too.

    Old releases of dependencies have no wheels for newer interpreters.
    """
    command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    version = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    oldest = PROJECT["requires-python"].removeprefix(">=")
    return {f"Python {version}, highest versions": []} | (
        {f"Python {version}, lowest versions": lowest()} if version == oldest else {}
    )


def try_versions(wheel: Path, pythons: list[str], with_demo: bool) -> list[str]:
    """Install and run the wheel under each interpreter; the faults."""
    faults = []
    for python in pythons:
        for name, constraints in versions_to_try(python).items():
            with tempfile.TemporaryDirectory() as folder:
                try:
                    interpreter = environment(python, Path(folder) / "env", [f"{wheel}[cli]"], constraints)
                    try_out(interpreter, with_demo)
                except (subprocess.CalledProcessError, RuntimeError) as error:
                    faults.append(f"{name}: {error} {(getattr(error, 'stderr', None) or '')[-2000:]}")
            print(f"{name}: {'FAILED' if faults and faults[-1].startswith(name) else 'ok'}", flush=True)
    return faults


def measure_extras(wheel: Path, python: str) -> None:
    """The size of an environment with each extra, and the seconds of its installation from a filled cache."""
    rows: list[dict[str, Any]] = []
    extras = ["", *PROJECT["optional-dependencies"]]
    for extra in ["all", *extras]:  # the first installation, which fills the cache of pip, is not counted
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            environment(python, Path(folder) / "env", [f"{wheel}[{extra}]" if extra else str(wheel)])
            seconds = time.perf_counter() - start
            files = [p for p in (Path(folder) / "env").rglob("*") if p.is_file() and not p.is_symlink()]
            size = sum(p.stat().st_size for p in files) / MEGABYTE
        rows.append({"extra": extra or "none", "megabytes": round(size), "seconds": round(seconds, 1)})
        print(rows[-1], flush=True)
    rows = rows[1:]
    head = {
        "command": "python tools/release_check.py --extras", "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(), "machine": platform.machine(),
    }  # fmt: skip
    RESULTS.write_text(json.dumps(head | {"results": rows}, indent=1) + "\n")
    lines = [
        "# Installation", "",
        f"Made by `{head['command']}` on {head['date']}: Python {head['python']}, {head['machine']}. Size of a new "
        "environment with the extra (JAX is most of it), and seconds to make it with the downloads in pip's cache.", "",
        "| extra | MB | seconds |", "| --- | --- | --- |",
        *(f"| {row['extra']} | {row['megabytes']} | {row['seconds']} |" for row in rows), "",
    ]  # fmt: skip
    RESULTS.with_suffix(".md").write_text("\n".join(lines))


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the release, look into it, and run it in empty environments.")
    parser.add_argument("--python", nargs="+", default=[sys.executable], help="interpreters to test")
    parser.add_argument("--no-demo", action="store_true", help="leave out `pushforward demo`, two minutes each")
    parser.add_argument("--extras", action="store_true", help="measure the installation of every extra")
    arguments = parser.parse_args()
    wheel, sdist = build()
    faults = faults_of_contents(wheel, sdist)
    if arguments.extras:
        measure_extras(wheel, arguments.python[0])
    faults += try_versions(wheel, arguments.python, not arguments.no_demo)
    for fault in faults:
        print(fault, file=sys.stderr)
    print("the release is good" if not faults else f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
