"""Public calls as they would run on a GPU, counted without one: programs, transfers, and what the programs do.

    PYTHONPATH=CHECKOUT/src python benchmarks/workers/accelerator_calls.py < workloads.json > counts.json

What is changed so that a CPU takes a GPU's way, all of it here:

- `jax.default_backend()` answers "gpu", which is all that the library asks (batch sizes, arrays that stay on the
  device, orders of solvers);
- `jax.jit` remembers the programs that are called, which are lowered again for the platform "cuda";
- JAX's fast path of calls is off, so that every program passes through `ExecuteReplicated`, where it is counted;
- arrays of JAX have no buffer that NumPy could read without asking JAX, as on a GPU; each array is read once.

Every call is made once, for compilation, and counted the second time.
"""

import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Nothing is timed here: programs of the CPU need not be fast.
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
sys.path.append(str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np
from jax._src import array, pjit
from jax._src.interpreters import pxla
from jax._src.lib import xla_client
from program_counts import added, counted

_BUFFER_SLOTS = 160  # of a type object of CPython on 64 bits: where its pointer to the buffer functions lies


class Ledger:
    """What happened during a call."""

    def __init__(self) -> None:
        self.is_open = False
        self.clear()

    def clear(self) -> None:
        self.launched: list[str] = []
        self.programs: list[tuple[Any, tuple, dict]] = []
        self.to_device: list[int] = []
        self.to_host: list[int] = []

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        self.clear()
        self.is_open = True
        try:
            yield
        finally:
            self.is_open = False


LEDGER = Ledger()


class RememberedProgram:
    """A function of `jax.jit` that puts its outermost calls into the ledger."""

    def __init__(self, program: Any) -> None:
        self.program = program

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((arguments, named)))
        if LEDGER.is_open and not traced:
            LEDGER.programs.append((self.program, arguments, named))
        return self.program(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.program, name)


def watch() -> None:
    """Make the changes that the head of this file lists; before the library is imported."""
    jit, execute, put = jax.jit, pxla.ExecuteReplicated.__call__, xla_client.batched_device_put
    read = array.ArrayImpl._value.fget

    def remembered(function: Any = None, **options: Any) -> Any:
        if function is None:
            return lambda function: remembered(function, **options)
        return RememberedProgram(jit(function, **options))

    def launched(self: Any, *arguments: Any) -> Any:
        if LEDGER.is_open:
            LEDGER.launched.append(self.name)
        return execute(self, *arguments)

    def sent(aval: Any, sharding: Any, parts: Any, *rest: Any, **named: Any) -> Any:
        if LEDGER.is_open:
            LEDGER.to_device += [np.asarray(part).nbytes for part in parts if not isinstance(part, jax.Array)]
        return put(aval, sharding, parts, *rest, **named)

    def value(self: Any) -> np.ndarray:
        if LEDGER.is_open and self._npy_value is None:
            LEDGER.to_host.append(self.nbytes)
        return read(self)

    jax.default_backend = lambda: "gpu"
    jax.jit = remembered
    pjit._get_fastpath_data = lambda *arguments, **named: None
    pxla.ExecuteReplicated.__call__ = launched
    xla_client.batched_device_put = sent
    array.ArrayImpl._value = property(value)
    slots = ctypes.c_void_p.from_address(id(array.ArrayImpl) + _BUFFER_SLOTS).value
    ctypes.c_void_p.from_address(slots).value = None


def of_call(call: Callable[[], Any]) -> dict[str, Any]:
    """Counts of one call, after one that compiles."""
    call()
    with LEDGER.open():
        call()
    launched, programs = list(LEDGER.launched), list(LEDGER.programs)
    total: dict[str, Any] = {}
    for program, arguments, named in programs:
        total = added(total, counted(program.trace(*arguments, **named).lower(lowering_platforms=("cuda",))))
    return {
        "launched": launched,
        "to_device": len(LEDGER.to_device),
        "to_device_bytes": sum(LEDGER.to_device),
        "to_host": len(LEDGER.to_host),
        "to_host_bytes": sum(LEDGER.to_host),
        "programs": total,
    }


def calls_of(workload: dict, ours: Any) -> dict[str, Callable[[], Any]]:
    """The public calls of a workload: those of its benchmark, and scoring rows that lie on the host."""
    operations = ours.build(workload)
    calls = {name: operations[name] for name in ("log_prob", "training_step", "sample")}
    if workload["shape"] is None:
        flow, _, _ = ours._parts(ours._recipe(workload), ours._moved_by(workload))
        rows = ours.normal_rows(workload["batch"], workload["dim"])
        calls["log_prob of NumPy rows"] = lambda: flow.log_prob(rows).block_until_ready()
    return calls


def main() -> None:
    watch()
    import ours

    for workload in json.load(sys.stdin):
        print(workload["name"], file=sys.stderr, flush=True)
        for operation, call in calls_of(workload, ours).items():
            record = {"workload": workload["name"], "operation": operation, **of_call(call)}
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
