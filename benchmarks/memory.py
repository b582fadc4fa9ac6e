"""Memory and time of a gradient step over depth, with stored and with recomputed activations.

    python benchmarks/memory.py

Flows of one scale, (32, 32, 3) squeezed to (16, 16, 12), width 64, batch 32, float32: the compiled value and gradient
of the mean negative log-density in all trained leaves. Temporary memory is what the compiler reserves besides arguments
and results (`memory_analysis().temp_size_in_bytes`). Both variants take turns in every round, and the ratio of their
times is formed within a round. The gradients of the two are compared at weights moved by noise from the start, with
activation normalisation started from the rows. Results go to `benchmarks/results/memory.json` and `.md`.
"""

import argparse
import datetime
import json
import math
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import pushforward as pf
from pushforward.bijections import Repeat
from pushforward.core.state import initialise_layers

RESULTS = Path(__file__).resolve().parent / "results"
SHAPE, WIDTH, BATCH = (32, 32, 3), 64, 32
STACKS, ROUNDS, NOISE = (("glow", 4), ("glow", 16), ("glow", 64), ("real_nvp_image", 16)), 7, 0.003


def with_recompute(flow: pf.Flow, recompute: bool) -> pf.Flow:
    """The same flow, its stacks built anew with or without the option."""

    def rebuilt(node: Any) -> Any:
        if not isinstance(node, Repeat):
            return node
        layers = list(node)
        return Repeat(layers, unroll=node.unroll, recompute=recompute)

    return jax.tree.map(rebuilt, flow, is_leaf=lambda node: isinstance(node, Repeat))


def started(flow: pf.Flow, x: np.ndarray) -> pf.Flow:
    """Every trained leaf moved by normal noise, for couplings start as the identity; then what starts from data."""
    random = np.random.default_rng(0)
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    noisy = jax.tree.map(lambda a: jnp.asarray(a + NOISE * random.normal(size=a.shape), a.dtype), trained)
    flow = eqx.combine(noisy, rest)
    return eqx.tree_at(lambda f: f.bijection, flow, initialise_layers(flow.bijection, x))


class Variant:
    """The compiled gradient step of a flow."""

    def __init__(self, flow: pf.Flow, x: jax.Array) -> None:
        trained, rest = eqx.partition(flow, pf.trainable(flow))

        def loss(trained: Any, x: jax.Array) -> jax.Array:
            return -jnp.mean(eqx.combine(trained, rest).log_prob(x))

        before = time.perf_counter()
        self.arguments = trained, x
        self.program = jax.jit(jax.value_and_grad(loss)).lower(*self.arguments).compile()
        self.compile_seconds = time.perf_counter() - before
        memory: Any = self.program.memory_analysis()
        self.temporary_bytes = memory.temp_size_in_bytes

    def __call__(self) -> Any:
        return jax.block_until_ready(self.program(*self.arguments))

    def seconds(self) -> float:
        """Of one call."""
        before = time.perf_counter()
        self()
        return time.perf_counter() - before


def norm(gradient: Any) -> float:
    """Of all leaves together."""
    return math.sqrt(sum(float(np.sum(np.asarray(leaf, np.float64) ** 2)) for leaf in jax.tree.leaves(gradient)))


def row(recipe: str, depth: int, rounds: int) -> dict[str, Any]:
    """Both variants of one stack."""
    x = np.random.default_rng(1).normal(size=(BATCH, *SHAPE))
    flow = started(getattr(pf, recipe)(SHAPE, n_scales=1, n_layers=depth, width=WIDTH, key=0), x)
    x = jnp.asarray(x, jnp.float32)
    stored, again = (Variant(with_recompute(flow, recompute), x) for recompute in (False, True))
    (value, gradient), (other_value, other) = stored(), again()
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(other), strict=True)
    off = norm([a - b for a, b in pairs]) / norm(gradient)
    turns = [[], []]
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 else (1, 0):
            turns[which].append((stored, again)[which].seconds())
    ratios = [b / a for a, b in zip(*turns, strict=True)]
    return {
        "recipe": recipe,
        "depth": depth,
        "temporary_bytes": {"kept": stored.temporary_bytes, "recomputed": again.temporary_bytes},
        "seconds": {"kept": statistics.median(turns[0]), "recomputed": statistics.median(turns[1])},
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "compile_seconds": {"kept": stored.compile_seconds, "recomputed": again.compile_seconds},
        "same_value": bool(value == other_value),
        "gradient_off": off,
    }


def page(result: dict[str, Any]) -> list[str]:
    """The rows as a table."""
    lines = [
        f"One scale, shape {result['shape']}, width {result['width']}, batch {result['batch']}, float32. Median of "
        f"{result['rounds']} rounds; in brackets the smallest and the largest ratio of a round. Gradient off: "
        "norm of the difference of the two gradients over the norm of one. A layer of real_nvp_image "
        "is two couplings and a normalisation, and there are as many again before squeezing.",
        "",
        "| recipe | layers | temporary MB, kept | recomputed | step ms, kept | recomputed | time ratio | same value "
        "| gradient off |",
        "|---" * 9 + "|",
    ]
    for one in result["rows"]:
        megabytes = " | ".join(f"{one['temporary_bytes'][which] / 1e6:.1f}" for which in ("kept", "recomputed"))
        times = " | ".join(f"{1e3 * one['seconds'][which]:.0f}" for which in ("kept", "recomputed"))
        ratio = "{median:.2f} ({min:.2f} to {max:.2f})".format(**one["ratio"])
        same = "yes" if one["same_value"] else "NO"
        which = f"{one['recipe']} | {one['depth']}"
        lines.append(f"| {which} | {megabytes} | {times} | {ratio} | {same} | {one['gradient_off']:.1e} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds, load = parser.parse_args().rounds, os.getloadavg()[0]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {jax.default_backend()}, jax {jax.__version__}"
    result = {
        "command": "python benchmarks/memory.py" + (f" --rounds {rounds}" if rounds != ROUNDS else ""),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": machine,
        "load_before": round(load, 2),
        "shape": SHAPE,
        "width": WIDTH,
        "batch": BATCH,
        "rounds": rounds,
        "rows": [row(recipe, depth, rounds) for recipe, depth in STACKS],
    }
    made = f"Made by `{result['command']}` on {result['date']}: {machine}; load before the run {load:.2f}."
    body = "\n".join(["# Memory of a gradient step over depth", "", made, "", *page(result)])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "memory.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "memory.md").write_text(body + "\n", encoding="utf-8")
    print(body)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
