"""Damaged model files: each is refused with an error of the library, or loads as a flow with the same log-densities.

    python tests/support/damaged_models.py --files 500

A file is damaged in its bytes, or one entry of its header or one tensor is replaced and the hash recomputed, as a
hostile author would do: numbers become huge, negative or of another type, values are nested deep, tensors become long
and sparse. Prints the outcomes, the faults, the longest load and the growth of the peak memory.
"""

import argparse
import copy
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

import pushforward as pf
from pushforward.bijections import Standardise
from pushforward.errors import ModelFileError
from pushforward.persistence import load_with_notes
from pushforward.persistence.container import pack

SMALL = {"width": 4, "depth": 1, "n_layers": 2}
N_SPARSE = 50_000_000  # numbers in a sparse tensor: 200 MB of zeros that need no disk space
HUGE = [10**9, 2**31, 2**62, 10**30, 1e300]
OTHER = [0, -1, -(10**9), -0.5, 1e-300, True, None, "1", [1], {"list": [1]}]


def rounded() -> Any:
    inner = pf.Flow(pf.bases.Normal((2,)), Standardise((2,)))
    return pf.Discretised(inner, np.ones(2), n_draws=4)


FLOWS: dict[str, Callable[[], Any]] = {
    "nsf": lambda: pf.nsf(2, key=0, context_dim=1, n_bins=3, **SMALL),
    "dequantised": lambda: pf.Dequantised(pf.Flow(pf.bases.Normal((2,)), Standardise((2,))), 4),
    "maf": lambda: pf.maf(3, key=0, **SMALL),
    "real_nvp": lambda: pf.real_nvp(3, key=0, mixing="lu", **SMALL),
    "iaf": lambda: pf.iaf(2, key=0, **SMALL),
    "umnn_maf": lambda: pf.umnn_maf(2, key=0, **SMALL),
    "sylvester_flow": lambda: pf.sylvester_flow(2, key=0, n_layers=2),
    "i_resnet": lambda: pf.i_resnet(2, key=0, n_layers=1, width=4, depth=1),
    "residual_flow": lambda: pf.residual_flow(2, key=0, n_layers=1, width=4, depth=1),
    "transformer_flow": lambda: pf.transformer_flow(3, key=0, n_layers=1, width=4, depth=1),
    "wavenet": lambda: pf.wavenet(4, key=0, width=4, depth=2),
    "emerging_glow": lambda: pf.emerging_glow((4, 4, 1), key=0, n_layers=1, width=4),
    "rounded": rounded,
}
# Other errors of a load are faults: only those of the library describe what is wrong with the file.
WRONG = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip
QUICK = ("nsf", "dequantised")


def parts(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header without its hash, and the tensors."""
    outer = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    inner = json.loads(outer["__metadata__"]["pushforward"])
    inner.pop("sha256")
    return inner, safetensors.numpy.load(content)


def entries(node: Any, condition: Callable[[Any], bool]) -> Iterator[tuple[Any, Any]]:
    """The entries (container, key) below a node of JSON whose values meet the condition."""
    for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if condition(child):
            yield node, key
        yield from entries(child, condition)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def in_bytes(content: bytes, random: np.random.Generator) -> bytes:
    """A bit flipped, the file cut or lengthened, or bytes overwritten."""
    changed, position = bytearray(content), int(random.integers(len(content)))
    kind = random.integers(5)
    if kind == 0:
        changed[position] ^= 1 << int(random.integers(8))
    elif kind == 1:
        del changed[position:]
    elif kind == 2:
        changed[position:position] = random.bytes(9)
    elif kind == 3:
        changed[position : position + 64] = bytes(len(changed[position : position + 64]))
    else:
        source = int(random.integers(len(content)))
        changed[position : position + 8] = changed[source : source + 8]
    return bytes(changed)


def in_numbers(content: bytes, random: np.random.Generator) -> bytes:
    """One number of the configuration huge, negative, or of another type."""
    inner, tensors = parts(content)
    candidates = list(entries(inner["flow"], is_number))
    container, key = candidates[random.integers(len(candidates))]
    values = HUGE if random.random() < 0.6 else OTHER
    container[key] = values[random.integers(len(values))]
    return pack(inner, tensors)


def in_depth(content: bytes, random: np.random.Generator) -> bytes:
    """One value of the header nested deep, below the depth at which JSON cannot be written."""
    inner, tensors = parts(content)
    candidates = list(entries(inner, lambda value: not isinstance(value, dict)))
    container, key = candidates[random.integers(len(candidates))]
    for _ in range(int(random.choice([120, 300, 900]))):
        container[key] = [container[key]]
    return pack(inner, tensors)


def in_tensors(content: bytes, random: np.random.Generator) -> bytes:
    """One tensor of another shape, of another type, or with numbers that are huge or none."""
    inner, tensors = parts(content)
    name = sorted(tensors)[random.integers(len(tensors))]
    value, kind = tensors[name], random.integers(4)
    with np.errstate(all="ignore"):
        if kind == 0:
            tensors[name] = np.resize(value, value.size + 1)
        elif kind == 1:
            tensors[name] = value.astype(np.float64 if value.dtype != np.float64 else np.int32)
        elif kind == 2:
            tensors[name] = np.full_like(value, np.nan if value.dtype.kind == "f" else 99)
        else:
            tensors[name] = np.asarray(value * 1e30).astype(value.dtype)
    return pack(inner, tensors)


def in_notes(content: bytes, random: np.random.Generator) -> bytes:
    """Notes of another type: they belong to the user, and change no log-density."""
    inner, tensors = parts(content)
    inner["notes"] = copy.deepcopy(OTHER)[random.integers(len(OTHER))]
    if random.random() < 0.5:
        inner["notes"] = {"held_out_nats": inner["notes"]}
    return pack(inner, tensors)


DAMAGES = {"bytes": in_bytes, "numbers": in_numbers, "depth": in_depth, "tensors": in_tensors, "notes": in_notes}
SHARES = {"bytes": 0.3, "numbers": 0.4, "depth": 0.08, "tensors": 0.17, "notes": 0.05}


def write_sparse(path: Path, content: bytes) -> None:
    """A file whose first tensor is long and sparse in its configuration too; its hash is wrong."""
    outer = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    inner, tensors = outer.pop("__metadata__")["pushforward"], sorted(outer)
    inner, end = json.loads(inner), 0
    for where, key in entries(
        inner["flow"], lambda value: isinstance(value, dict) and value.get("array") == tensors[0]
    ):
        where[key] |= {"shape": [N_SPARSE], "dtype": "float32"}
    outer[tensors[0]] |= {"shape": [N_SPARSE], "dtype": "F32"}
    for name in tensors:
        start, stop = outer[name]["data_offsets"]
        length = 4 * N_SPARSE if name == tensors[0] else stop - start
        outer[name]["data_offsets"], end = [end, end + length], end + length
    header = json.dumps({**outer, "__metadata__": {"pushforward": json.dumps(inner)}}).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + end)


def points(flow: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Integer points, at which every flow here has a density, and their contexts."""
    random = np.random.default_rng(0)
    x = random.integers(0, 4, (16, *flow.shape)).astype(float)
    return x, None if flow.context_shape is None else random.normal(size=(16, *flow.context_shape))


def outcome(path: Path, expected: np.ndarray) -> tuple[str, str]:
    """ "refused", "error" or "loaded", and the fault if there is one."""
    try:
        flow, _ = load_with_notes(path)
    except ModelFileError as error:
        return "refused", "" if str(error).startswith(str(path)) and "\n" not in str(error) else f"message: {error}"
    except WRONG as error:
        return "error", f"{type(error).__name__}: {error}"
    try:
        log_probs = np.asarray(flow.log_prob(*points(flow)))
    except WRONG as error:
        return "loaded", f"log_prob fails: {type(error).__name__}: {error}"
    if log_probs.shape != expected.shape or not np.allclose(log_probs, expected, rtol=2e-2, atol=2e-2):
        return "loaded", f"log-densities {log_probs[:3]}, expected {expected[:3]}"
    return "loaded", ""


def peak_megabytes() -> float:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def run(n_files: int, names: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Damages and loads files. Returns the results."""
    folder, random = Path(tempfile.mkdtemp()), np.random.default_rng(seed)
    good, counts, faults, longest = {}, Counter(), [], (0.0, "")
    for name in names:
        flow = FLOWS[name]()
        pf.save(folder / name, flow, notes={"columns": ["a"]})
        flow = pf.load(folder / name)
        good[name] = (folder / name).read_bytes(), np.asarray(flow.log_prob(*points(flow)))
    before = peak_megabytes()
    kinds = random.choice(list(SHARES), size=n_files, p=list(SHARES.values()))
    for index, kind in enumerate(kinds):
        name = names[index % len(names)]
        content, expected = good[name]
        path = folder / "damaged"
        path.unlink(missing_ok=True)
        if index % 50 == 49:
            kind = "sparse"
            write_sparse(path, content)
        else:
            path.write_bytes(DAMAGES[kind](content, random))
        start = time.process_time()
        result, fault = outcome(path, expected)
        longest = max(longest, (time.process_time() - start, f"file {index}, {name}, {kind}"))
        counts[f"{kind}, {result}"] += 1
        if fault:
            faults.append(f"file {index}, {name}, {kind}: {fault}")
    return {
        "files": n_files, "outcomes": dict(sorted(counts.items())), "faults": faults, "longest": longest,
        "before": before, "grown": peak_megabytes() - before,
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flows", nargs="*", default=list(FLOWS), choices=list(FLOWS))
    options = parser.parse_args()
    print(json.dumps(run(options.files, tuple(options.flows), options.seed)))
