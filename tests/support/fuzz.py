"""Fuzz the loader of model files: every file is refused with a clear error, or loads as a flow that works.

    python tests/support/fuzz.py --minutes 10

Hypothesis changes a good file in two ways. A damaged file has bytes replaced, inserted or deleted: if it loads, it must
be the flow that was saved. A forged file has its header or its tensors changed and its hash recomputed, as a hostile
author would do. Anything but a one-line error or a flow, and any load above `LONGEST` seconds, is a fault.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import pushforward as pf
from pushforward.errors import ModelFileError
from pushforward.persistence.container import pack

LONGEST = 5.0  # seconds; a flow that is new in its structure is traced and compiled
EXAMPLES = 400
SIZES = {"width": 2, "depth": 1, "n_layers": 2}
FLOWS = {
    "real_nvp": lambda: pf.real_nvp(2, key=0, mixing="lu", **SIZES),
    "nsf": lambda: pf.nsf(2, key=0, context_dim=1, n_bins=3, **SIZES),
    "maf": lambda: pf.maf(3, key=0, **SIZES),
    "linear": lambda: pf.linear_flow(2, kind="qr", key=0, whiten=True),
}
NUMBERS = [0, -1, 1, 2, 7, 255, 2**31, 2**47, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308, -5.0, 1e-300]
TEXTS = ["", "os.system", "relu", "Flow", "Normal", "Repeat", "Chain", "..", "../x", "a" * 999, "\0", "é", "__class__"]
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.sampled_from(TEXTS)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(TEXTS), inner, max_size=3)),
    max_leaves=6,
)


def parts(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    length = int.from_bytes(content[:8], "little")
    outer = json.loads(content[8 : 8 + length])
    return json.loads(outer["__metadata__"]["pushforward"]), safetensors.numpy.load(content)


def paths_below(node: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all nodes below a node of JSON."""
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    paths = [] if path == () else [path]
    for name, child in below:
        paths += paths_below(child, (*path, name))
    return paths


def at(node: Any, path: tuple) -> Any:
    for name in path:
        node = node[name]
    return node


def damaged(data: st.DataObject, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, max(len(changed) - 1, 0)))
        kind = data.draw(st.sampled_from(["flip", "put in", "take out", "copy", "cut"]))
        if kind == "flip" and changed:
            changed[position] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "put in":
            changed[position:position] = data.draw(st.binary(max_size=9))
        elif kind == "take out":
            del changed[position : position + data.draw(st.integers(1, 64))]
        elif kind == "copy":
            source = data.draw(st.integers(0, max(len(changed) - 1, 0)))
            changed[position : position + 8] = changed[source : source + 8]
        else:
            del changed[position:]
    return bytes(changed)


def forged(data: st.DataObject, content: bytes) -> bytes:
    inner, tensors = parts(content)
    for _ in range(data.draw(st.integers(1, 3))):
        if data.draw(st.booleans()) and (paths := paths_below(inner)):
            path = data.draw(st.sampled_from(paths))
            where = at(inner, path[:-1])
            kind = data.draw(st.sampled_from(["replace", "move", "take out"]))
            if kind == "take out":
                del where[path[-1]]
            elif kind == "move":
                where[path[-1]] = json.loads(json.dumps(at(inner, data.draw(st.sampled_from(paths)))))
            else:
                where[path[-1]] = data.draw(plain)
        elif tensors:
            name = data.draw(st.sampled_from(sorted(tensors)))
            value = tensors[name]
            kind = data.draw(st.sampled_from(["fill", "scale", "type", "shape", "take out", "rename"]))
            if kind == "fill":
                with np.errstate(all="ignore"):
                    tensors[name] = np.full_like(value, data.draw(st.sampled_from([0, 1, 2, 100, 127])))
            elif kind == "scale" and value.dtype.kind == "f":
                with np.errstate(all="ignore"):
                    factor = data.draw(st.sampled_from([-1.0, 0.0, 1e30, 1e-40, np.inf, np.nan]))
                    tensors[name] = (value * factor).astype(value.dtype)
            elif kind == "type":
                with np.errstate(all="ignore"):
                    tensors[name] = value.astype(data.draw(st.sampled_from(["float16", "int64", "uint8", "float64"])))
            elif kind == "shape":
                tensors[name] = value.reshape(-1)[: data.draw(st.integers(0, 3))].copy()
            elif kind == "take out":
                del tensors[name]
            else:
                tensors[data.draw(st.sampled_from(TEXTS))] = tensors.pop(name)
    inner.pop("sha256", None)
    try:
        return pack(inner, tensors)
    except (ModelFileError, ValueError, TypeError, safetensors.SafetensorError):
        return content  # it cannot be written


def try_to_load(path: Path, content: bytes) -> tuple[str, Any]:
    """ "refused" or "loaded", and the flow if it loaded."""
    path.write_bytes(content)
    start = time.monotonic()
    try:
        flow = pf.load(path)
    except ModelFileError as error:
        seconds, message = time.monotonic() - start, str(error)
        if seconds > LONGEST:
            raise AssertionError(f"took {seconds:.1f} s to refuse: {message}") from error
        if "\n" in message or not message.endswith((".", ")")):
            raise AssertionError(f"not a one-line message: {message!r}") from error
        return "refused", None
    if (seconds := time.monotonic() - start) > LONGEST:
        raise AssertionError(f"took {seconds:.1f} s to load")
    return "loaded", flow


def leaves(flow: Any) -> list[Any]:
    return [
        (str(a.dtype), a.shape, np.asarray(a).tobytes()) if hasattr(a, "dtype") else a for a in jax.tree.leaves(flow)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    good = {}
    for name, build in FLOWS.items():
        pf.save(folder / name, build(), notes={"columns": ["a", "b"]})
        good[name] = (folder / name).read_bytes(), leaves(pf.load(folder / name))
    counts: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def fuzz(data: st.DataObject) -> None:
        content, expected = good[data.draw(st.sampled_from(sorted(FLOWS)))]
        if data.draw(st.booleans()):
            outcome, flow = try_to_load(folder / "damaged", damaged(data, content))
            if flow is not None and leaves(flow) != expected:
                raise AssertionError("a damaged file loaded as another flow")
            counts[f"damaged, {outcome}"] += 1
        else:
            outcome, flow = try_to_load(folder / "forged", forged(data, content))
            if flow is not None:
                flow.log_prob(
                    np.zeros(flow.shape), None if flow.context_shape is None else np.zeros(flow.context_shape)
                )
            counts[f"forged, {outcome}"] += 1

    end, rounds = time.monotonic() + 60 * options.minutes, 0
    while time.monotonic() < end:
        seed(options.seed + rounds)(fuzz)()
        rounds += 1
        jax.clear_caches()  # each forged structure leaves a program behind
        print(f"{sum(counts.values()):,} files: {dict(sorted(counts.items()))}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
