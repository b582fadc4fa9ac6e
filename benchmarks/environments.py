"""Virtual environments of the benchmarks: one for this library, one for FlowJAX, one for the PyTorch peers.

Each lives in `benchmarks/.envs/<name>` and is made once, with venv and pip, by package name. What failed to install is
stored in `installed.json` in its folder, for the tables.

Or every library comes from the interpreter that runs the benchmarks, on its accelerator (`use_accelerator`).
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ENVS = HERE / ".envs"

TORCH = "torch==2.13.0"
# Name of the environment -> steps of pip, (what the step brings, its requirements). A step that fails is reported under
# the names it brings; the others stand. The pin of torch is repeated in every step that could move it.
PLANS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "ours": (("ours", ("--editable", str(ROOT))),),
    "flowjax": (("flowjax", ("flowjax==19.1.2", "jax==0.10.2")),),
    "torch": (
        ("torch", (TORCH, "numpy")),
        ("zuko", (TORCH, "zuko==1.6.0")),
        ("nflows", (TORCH, "nflows==0.14")),
        ("normflows", (TORCH, "normflows==1.7.3")),
        ("torchflows", (TORCH, "torchflows==1.2.1")),
    ),
}
GPU_PACKAGES = re.compile(r"^(nvidia|cuda|triton|pytorch-triton)", re.IGNORECASE)


_own = False


def use_accelerator() -> None:
    """From here on every environment is this interpreter, with its accelerator; nothing is installed."""
    global _own
    _own = True


def on_accelerator() -> bool:
    """Whether `use_accelerator` was called."""
    return _own


def machine() -> dict:
    """Cores, architecture, Python and the load of the last minute, for the results."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def command(script: str) -> str:
    """What made a result: the script, its options, and the one variable that changes what JAX computes."""
    name = "JAX_DEFAULT_MATMUL_PRECISION"
    setting = [f"{name}={os.environ[name]}"] if name in os.environ else []
    return " ".join([*setting, f"python benchmarks/{script}", *sys.argv[1:]])


def python_of(name: str) -> Path:
    """The interpreter of environment `name`."""
    return Path(sys.executable) if _own else ENVS / name / "bin" / "python"


def anonymous(text: str) -> str:
    """`text` without paths of this machine: what goes into a committed table must not tell where it was made."""
    text = text.replace(str(ROOT), "<repository>").replace(str(Path.home()), "<home>")
    text = re.sub(r"https?://[^\s'\"]+", "<address>", text)
    return re.sub(r"(?<![\w<>.])/(?:[\w.+-]+/)+[\w.+-]*", "<path>", text)


def build(name: str) -> dict[str, str]:
    """Make environment `name` unless it stands; return {what: reason} of the steps that failed."""
    if _own:
        return {}
    record = ENVS / name / "installed.json"
    plan = [list(step) for step in PLANS[name]]
    plan_text = json.dumps([anonymous(str(step)) for step in plan])
    if record.exists():
        saved = json.loads(record.read_text())
        if saved["plan"] == plan_text and not saved["failed"]:
            return {}
    print(f"environment {name}: installing (once; minutes the first time)", file=sys.stderr, flush=True)
    venv.create(ENVS / name, with_pip=True, clear=True)
    failed: dict[str, str] = {}
    for what, requirements in PLANS[name]:
        reason = _gpu_packages(name, requirements) or _pip(name, "install", "--quiet", *requirements)
        if reason:
            failed[what] = reason
            print(f"environment {name}: {what} did not install: {reason}", file=sys.stderr, flush=True)
    record.write_text(json.dumps({"plan": plan_text, "failed": failed}, indent=1))
    return failed


def _pip(name: str, *arguments: str) -> str:
    """Run pip in the environment; the last line of its complaint, or an empty string."""
    command = [str(python_of(name)), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stderr.strip().splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
    return anonymous(lines[0] if lines else f"pip ended with code {done.returncode}")[:300]


def _gpu_packages(name: str, requirements: tuple[str, ...]) -> str:
    """A message if the requirements would install gigabytes of GPU libraries, which a CPU comparison does not need."""
    if TORCH not in requirements:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        reason = _pip(name, "install", "--quiet", "--dry-run", "--report", str(report), *requirements)
        if reason:
            return reason
        packages = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    large = [entry["name"] for entry in packages if GPU_PACKAGES.match(entry["name"])]
    if not large:
        return ""
    return (
        f"pip would install {', '.join(large[:3])}, ...: its torch is a GPU build. Point pip at an index with the CPU "
        "build of torch 2.13.0 (for instance through PIP_EXTRA_INDEX_URL) and run again."
    )


def versions(name: str) -> dict[str, str]:
    """Versions of the packages that matter for a figure, in environment `name`."""
    listing = [str(python_of(name)), "-m", "pip", "--disable-pip-version-check", "list", "--format=json"]
    done = subprocess.run(listing, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {}
    shown = {"pushforward", "jax", "jaxlib", "equinox", "optax", "numpy", "flowjax", "torch"}
    shown |= {"zuko", "nflows", "normflows", "torchflows"}
    return {entry["name"]: entry["version"] for entry in json.loads(done.stdout) if entry["name"].lower() in shown}
