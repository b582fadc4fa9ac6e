"""The worker's side of the benchmarks: one JSON object a line, on standard input and output.

A worker holds one library and obeys: `build` (make the flow of a workload), `first` (compile and call an operation
once), `time` (call it so many times, one duration each, after so many calls that do not count), `fit` and `call`
(whatever else the library's worker offers).
An answer is {"ok": ...} or {"error": "Type: message"}. Nothing but answers reaches standard output: what a library
prints goes to standard error.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Operation = Callable[[], Any]  # blocks until its result is there, and returns it
Build = Callable[[dict], dict[str, Operation]]


def serve(build: Build, **offers: Callable[..., Any]) -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    operations: dict[str, Operation] = {}
    workload: dict = {}
    for line in sys.stdin:
        request = json.loads(line)
        task = request.pop("do")
        try:
            if task == "build":
                workload = request["workload"]
                started = time.perf_counter()
                operations = build(workload)
                answer: Any = {"operations": sorted(operations), "seconds": time.perf_counter() - started}
            elif task == "first":
                answer = _first(request["operation"], operations[request["operation"]], workload)
            elif task == "time":
                answer = durations(operations[request["operation"]], request["repeats"], request["uncounted"])
            else:
                answer = offers[task](**request)
            reply = {"ok": answer}
        except Exception as error:  # noqa: BLE001  whatever a library throws is reported under its name
            reply = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


def durations(operation: Operation, repeats: int, uncounted: int = 2) -> list[float]:
    """Seconds of each of `repeats` calls, after some that do not count (another process had the cores before)."""
    for _ in range(uncounted):
        operation()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        operation()
        seconds.append(time.perf_counter() - started)
    return seconds


def _first(name: str, operation: Operation, workload: dict) -> float:
    """Seconds of the first call; its result must have the right shape and be finite."""
    started = time.perf_counter()
    result = operation()
    duration = time.perf_counter() - started
    values = np.asarray(result.cpu() if hasattr(result, "cpu") else result)
    batch, event = workload["batch"], tuple(workload["shape"] or (workload["dim"],))
    shapes: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(("log_prob", "log_prob_in_jit"), (batch,)),
        **dict.fromkeys(("sample", "sample_in_jit", "inverse", "inverse_fine"), (batch, *event)),
        **dict.fromkeys(("training_step", "d_pass_step", "sample_gradient"), ()),
    }
    expected = shapes.get(name, values.shape)
    if values.shape != expected:
        raise ValueError(f"{name}: expected a result of shape {expected}, got {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: the result is not finite.")
    return duration


def normal_rows(batch: int, dim: int) -> np.ndarray:
    """The batch that every library scores and trains on, float32."""
    return np.random.default_rng(0).standard_normal((batch, dim)).astype(np.float32)


def pixels(batch: int, shape: list[int], levels: int) -> np.ndarray:
    """Images of random levels, float32."""
    return np.random.default_rng(0).integers(0, levels, (batch, *shape)).astype(np.float32)
