"""The driver's side: worker processes, the order in which they take turns, and what is made of their times."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from environments import HERE, anonymous, on_accelerator, python_of

# Worker -> the environment it runs in. The order is that of the tables.
WORKERS: dict[str, str] = {
    "ours": "ours",
    "flowjax_peer": "flowjax",
    "zuko_peer": "torch",
    "nflows_peer": "torch",
    "normflows_peer": "torch",
    "torchflows_peer": "torch",
}


def library(worker: str) -> str:
    """The library's name as the tables show it."""
    return "pushforward" if worker == "ours" else worker.removesuffix("_peer")


def not_installed(failed: dict[str, str]) -> list[dict]:
    """The failures of `environments.build`, as the results list them."""
    return [{"library": library(name), "where": "installation", "reason": reason} for name, reason in failed.items()]


class WorkerError(RuntimeError):
    """A worker could not do what it was asked; the message has no paths of this machine."""


class Worker:
    """One process with one library. It computes only while `ask` waits for it, so workers never compete.

    With a `folder` it is the library and the worker of that checkout, in the interpreter that runs this.
    """

    def __init__(self, name: str, folder: Path | None = None):
        self.name = name
        self.operations: list[str] = []
        self._errors = tempfile.TemporaryFile("w+")
        # No stored programs: compilation is timed.
        always = {"JAX_ENABLE_COMPILATION_CACHE": "false", "PYTHONWARNINGS": "ignore"}
        if on_accelerator():
            # Several processes share its memory.
            environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "BENCHMARK_DEVICE": "accelerator"}
        else:
            inherited = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
            environment = {key: value for key, value in os.environ.items() if key in inherited} | {
                "JAX_PLATFORMS": "cpu"
            }
        if folder is not None:
            environment |= {"PYTHONPATH": str(folder / "src")}
        python = python_of(WORKERS[name]) if folder is None else sys.executable
        self._process = subprocess.Popen(
            [str(python), str((HERE if folder is None else folder / "benchmarks") / "workers" / f"{name}.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment | always,
        )

    def ask(self, do: str, **request: Any) -> Any:
        """Send one request and wait for its answer."""
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(self._last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(anonymous(answer["error"].splitlines()[0])[:300])
        return answer["ok"]

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line for line in self._errors.read().splitlines() if line.strip()]
        return anonymous(lines[-1])[:300] if lines else f"the process ended with code {code}"

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def rotated(items: list[str], turn: int) -> list[str]:
    """The items starting elsewhere each round, so that none always follows the same one."""
    start = turn % len(items) if items else 0
    return items[start:] + items[:start]


def spread(values: list[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratio_by_round(numerator: list[float], denominator: list[float]) -> dict[str, float]:
    """The spread over rounds of numerator / denominator: both from the same round."""
    return spread([above / below for above, below in zip(numerator, denominator, strict=True)])


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def write_json(path: Path, value: dict) -> None:
    """Write readable JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
