"""Densities of angles: flows on a torus fitted to data and to a target, against quadrature.

    python benchmarks/quality/torus.py

mixture: three von Mises components in two angles, each with the second angle about a multiple of the first.
dihedral: exp of sums of cosines with cross terms in three angles, like the torsions of a small molecule; several modes.
`space_flow` is fitted to 100,000 samples (`fit`) and to the log-density (`fit_target` by the forward divergence, whose
importance weights start from the uniform base), by coupling and by autoregressive layers. KL(p | q) and KL(q | p) by
the midpoint rule on a periodic grid, in float64. The jump is the largest difference of log q at -pi and at +pi over
4,000 points and all angles, in float64 and in float32.
Results go to `benchmarks/results/torus.json` and `.md`.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import pushforward as pf

RESULTS = Path(__file__).resolve().parent.parent / "results"
N_TRAIN, N_JUMP, BAR_KL, BAR_JUMP = 100_000, 4_000, 0.02, 1e-6
CELLS, EPOCHS, STEPS = {2: 256, 3: 48}, {2: 5, 3: 8}, {("coupling", 3): 3000}  # steps of others: 1500
LAYERS = {("coupling", 2): 3, ("coupling", 3): 6, ("autoregressive", 2): 3, ("autoregressive", 3): 3}
FLOW: dict[str, Any] = {"width": 64, "depth": 2, "n_bins": 16}


def mixture(x: jax.Array) -> jax.Array:
    """Log-density up to a constant: the second angle turns with the first, in one component twice as fast."""
    first, second = x
    parts = jnp.stack([
        4.0 * jnp.cos(first - 3.0) + 6.0 * jnp.cos(second - first),
        5.0 * jnp.cos(first + 1.0) + 4.0 * jnp.cos(second + first - 2.0) - 0.5,
        2.0 * jnp.cos(first - 1.0) + 8.0 * jnp.cos(second - 2.0 * first - 1.0) - 2.0,
    ])  # fmt: skip
    return jax.nn.logsumexp(parts)


def dihedral(x: jax.Array) -> jax.Array:
    """Minus an energy of three torsions: threefold rotors, preferred angles near the cut, and couplings."""
    phi, psi, chi = x
    return (
        1.2 * jnp.cos(3.0 * chi) + 1.5 * jnp.cos(phi + 1.2) + 1.0 * jnp.cos(2.0 * psi - 2.2) + 1.0 * jnp.cos(psi - 3.0)
        + 1.5 * jnp.cos(phi - psi) + 1.2 * jnp.cos(phi + psi - chi) + 0.8 * jnp.sin(chi) * jnp.cos(phi)
    )  # fmt: skip


TARGETS: dict[str, tuple[int, Callable[[jax.Array], jax.Array]]] = {"mixture": (2, mixture), "dihedral": (3, dihedral)}


def grid(dim: int) -> np.ndarray:
    """Midpoints of the cells of the torus, (cells^dim, dim)."""
    axis = (np.arange(CELLS[dim]) + 0.5) * 2 * np.pi / CELLS[dim] - np.pi
    return np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), -1).reshape(-1, dim)


def exact(dim: int, log_density: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """The grid, the normalised log-density on it, and log Z."""
    points, cell = grid(dim), (2 * np.pi / CELLS[dim]) ** dim
    with jax.enable_x64(True):
        values = np.asarray(jax.jit(jax.vmap(log_density))(points))
    log_z = float(np.log(np.exp(values - values.max()).sum() * cell) + values.max())
    return points, values - log_z, log_z


def samples(dim: int, points: np.ndarray, log_p: np.ndarray, seed: int) -> np.ndarray:
    """Samples of the target: a cell by its probability, then rejection within it by the true density."""
    random, width = np.random.default_rng(seed), 2 * np.pi / CELLS[dim]
    chosen = random.choice(len(points), N_TRAIN, p=np.exp(log_p) / np.exp(log_p).sum())
    return points[chosen] + width * (random.uniform(size=(N_TRAIN, dim)) - 0.5)


def measured(flow: pf.Flow, points: np.ndarray, log_p: np.ndarray, dim: int) -> dict[str, float]:
    """Both divergences and the mass of q by quadrature, and the jumps across the cut."""
    cell = (2 * np.pi / CELLS[dim]) ** dim
    at_cut = np.random.default_rng(9).uniform(-np.pi, np.pi, (N_JUMP, dim))
    with jax.enable_x64(True):
        wide = pf.cast(flow, np.float64)
        log_q = np.asarray(wide.log_prob(points))
        jump = _jump(wide, at_cut)
    p, q = np.exp(log_p) * cell, np.exp(log_q) * cell
    x = np.asarray(flow.sample(N_JUMP, key=3))
    return {
        "forward_kl": float((p * (log_p - log_q)).sum()), "reverse_kl": float((q * (log_q - log_p)).sum()),
        "mass": float(q.sum()), "jump": jump, "jump_float32": _jump(flow, at_cut),
        "largest_angle": float(np.abs(x).max()),
    }  # fmt: skip


def _jump(flow: pf.Flow, points: np.ndarray) -> float:
    largest = 0.0
    for column in range(points.shape[1]):
        ends = np.repeat(points[:, None], 2, 1)
        ends[:, 0, column], ends[:, 1, column] = -np.pi, np.pi
        left, right = np.asarray(flow.log_prob(ends), np.float64).T
        largest = max(largest, float(np.abs(left - right).max()))
    return largest


def fitted(name: str, kind: str, how: str, seed: int) -> tuple[pf.Flow, float]:
    """A flow fitted to data or to the target, and the seconds it took."""
    dim, log_density = TARGETS[name]
    start = time.perf_counter()
    flow = pf.space_flow(["circle"] * dim, kind=kind, key=seed, n_layers=LAYERS[kind, dim], **FLOW)
    if how == "data":
        points, log_p, _ = exact(dim, log_density)
        flow, _ = pf.fit(flow, samples(dim, points, log_p, seed), key=seed, max_epochs=EPOCHS[dim], progress=False)
    else:
        options: dict[str, Any] = {"steps": STEPS.get((kind, dim), 1500), "forward": 1.0, "annealing": 0.0}
        flow, _ = pf.fit_target(flow, log_density, key=seed, progress=False, **options)
    return flow, time.perf_counter() - start


def page(result: dict[str, Any]) -> str:
    lines = [
        "# Flows on a torus",
        "",
        f"Made by `{result['command']}` in {result['seconds'] / 60:.0f} minutes. `space_flow` of width "
        f"{FLOW['width']}, {FLOW['n_bins']} bins, 3 layers (6 couplings of three angles). KL in nats by quadrature "
        f"on a periodic grid (bar {BAR_KL}); mass is the integral of the flow's density; jump is the largest "
        f"difference of the log-density between -pi and +pi (bar {BAR_JUMP:g} in float64).",
        "",
        "| target | angles | fitted to | layers | KL(p, q) | KL(q, p) | mass | jump, float64 | float32 | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['target']} | {TARGETS[row['target']][0]} | {row['how']} | {row['kind']} | "
        f"{row['forward_kl']:.4f} | {row['reverse_kl']:.4f} | {row['mass']:.5f} | {row['jump']:.1e} | "
        f"{row['jump_float32']:.1e} | {row['fit_seconds']:.0f} |"
        for row in result["rows"]
    ]
    worst = max(max(row["forward_kl"], row["reverse_kl"]) for row in result["rows"])
    lines += ["", f"Largest KL {worst:.4f}; within the bars: {'yes' if result['within_bars'] else 'no'}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    seed, start, rows = parser.parse_args().seed, time.perf_counter(), []
    for name, (dim, log_density) in TARGETS.items():
        points, log_p, _ = exact(dim, log_density)
        for how in ("data", "target"):
            for kind in ("coupling", "autoregressive"):
                flow, seconds = fitted(name, kind, how, seed)
                row = {"target": name, "how": how, "kind": kind, "fit_seconds": round(seconds, 1)}
                rows.append(row | measured(flow, points, log_p, dim))
                print(rows[-1], flush=True)
    within_bars = all(
        max(row["forward_kl"], row["reverse_kl"]) <= BAR_KL and row["jump"] < BAR_JUMP
        and row["largest_angle"] <= np.float32(np.pi)
        for row in rows
    )  # fmt: skip
    result = {
        "command": "python benchmarks/quality/torus.py", "seed": seed, "within_bars": within_bars, "rows": rows,
        "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip
    (RESULTS / "torus.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "torus.md").write_text(page(result))


if __name__ == "__main__":
    main()
