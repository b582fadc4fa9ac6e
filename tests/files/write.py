"""Write model files for the version at hand, with scores; a file that is there is left alone.

python tests/files/write.py

One file for every recipe and every kind of base, then rows of the zoo until every class that a model file may name is
in one of them.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
jax.config.update("jax_enable_x64", True)

import zoo  # noqa: E402

import pushforward as pf  # noqa: E402
from pushforward.core.distribution import AbstractDistribution  # noqa: E402
from pushforward.core.fields import trainable  # noqa: E402
from pushforward.core.state import finalise  # noqa: E402
from pushforward.persistence.tree import classes_of, registry  # noqa: E402

Build = Callable[[], AbstractDistribution]
SMALL = {"width": 6, "depth": 1, "n_layers": 2, "key": 0}


def whole_numbers() -> AbstractDistribution:
    noise = pf.dequantisation_flow((2, 2, 1), levels=4, width=4, n_layers=1, key=0)
    return pf.Dequantised(pf.glow((2, 2, 1), levels=4, n_scales=1, n_layers=1, width=4, key=0), 4, noise=noise)


def gated(in_size: int, out_shape: tuple[int, ...], *, context_size: int, key: Any) -> pf.networks.ZeroInitialised:
    mlp = eqx.nn.MLP(in_size + context_size, math.prod(out_shape), 4, 1, activation=jax.nn.mish, key=key)
    return pf.networks.ZeroInitialised(mlp, out_shape)


OTHERS: dict[str, Build] = {
    "Dequantised": whole_numbers,
    "Given": lambda: pf.nsf(2, context_dim=1, n_bins=3, **SMALL).given(np.ones(1)),
    "PowerSeries": lambda: pf.residual_flow(2, log_det=pf.bijections.PowerSeries(3), **SMALL),
    "Discretised": lambda: pf.Discretised(pf.maf(2, **SMALL), [0.5, 0.0], values=[(), (1.0, 2.0, 5.0)]),
    "RussianRoulette": lambda: pf.residual_flow(2, log_det=pf.bijections.RussianRoulette(), **SMALL),
    "ZeroInitialised": lambda: pf.nsf(2, network=gated, n_bins=3, n_layers=2, key=0),
    "embed": lambda: pf.Flow(
        pf.bases.Normal((2,)),
        pf.maf(2, context_dim=3, **SMALL).bijection,
        embed=pf.networks.MLP(2, (3,), width=4, depth=1, key=jax.random.key(0)),
        context_shape=(2,),
    ),
}


def recipes() -> Iterator[tuple[str, Build]]:
    """Every entry of the zoo's recipes once, with a context: three columns, or the smallest picture."""
    rows = [row for row in zoo.ALL_ROWS if row.flow is not None and row.name.endswith(" context")]
    for name in {**zoo.RECIPES, **zoo.IMAGE_RECIPES}:
        start = f"{name} D=3" if name in zoo.RECIPES else f"{name} "
        row = next(row for row in rows if row.name.startswith(start))
        yield name, row.flow


def alone(row: zoo.Row) -> AbstractDistribution:
    """The bijection of a row over a base within its domain."""
    bijection = row.build()
    if bijection.shape == ():
        bijection = pf.bijections.Elementwise(bijection, (2,))
    shape = bijection.shape
    base = {
        zoo.LINE: lambda: pf.bases.Normal(shape),
        zoo.POSITIVE: lambda: pf.bases.TruncatedNormal(shape, 0.5, 2.0),
        zoo.UNIT: lambda: pf.bases.TruncatedNormal(shape, 0.1, 0.9),
        zoo.OPEN: lambda: pf.bases.TruncatedNormal(shape, -0.9, 0.9),
        zoo.CIRCLE: lambda: pf.bases.Uniform(shape, -np.pi, np.pi),
    }[row.z_side]()
    return pf.Flow(base, bijection)


def kinds() -> Iterator[tuple[str, Build]]:
    yield from recipes()
    for name, base in zoo.BASES.items():
        yield f"base {name}", base.build
    yield from OTHERS.items()
    for row in zoo.ALL_ROWS:
        if row.flow is None and row.is_stored:
            yield f"row {row.name}", lambda row=row: alone(row)


def changed(flow: AbstractDistribution, random: np.random.Generator) -> AbstractDistribution:
    """The flow with weights that say which is which: its start values would hide two that are exchanged."""
    trained, frozen = eqx.partition(flow, trainable(flow))
    moved = jax.tree.map(lambda leaf: leaf + 0.05 * random.normal(size=leaf.shape).astype(leaf.dtype), trained)
    return finalise(eqx.combine(moved, frozen))


def write(path: Path, flow: AbstractDistribution) -> None:
    context = None if flow.context_shape is None else np.random.default_rng(1).normal(size=(6, *flow.context_shape))
    x = np.asarray(flow.sample(6 if context is None else (), key=1, context=context))
    scores = np.asarray(flow.log_prob(x, context), np.float64)
    pf.save(path, flow, notes={"columns": ["a", "b", "c"]})
    n_numbers = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(flow, eqx.is_array)))
    described = {
        "dtype": "float64", "version": pf.__version__, "numbers": n_numbers, "x": x.tolist(),
        "context": None if context is None else context.tolist(), "log_prob": scores.tolist(),
    }  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(described) + "\n")
    print(f"wrote {path.name}", flush=True)


def main() -> None:
    covered: set[type] = set()
    for name, build in kinds():
        flow = build()
        new = set(classes_of(flow)) & set(registry().values()) - covered  # not those that only tests define
        if name.startswith("row ") and not new:
            continue
        covered |= new
        path = HERE / f"{name.partition('[')[0].replace(' ', '_')}-{pf.__version__}.safetensors"
        if not path.exists():
            write(path, changed(flow, np.random.default_rng(0)))
    missing = {cls for cls in registry().values() if cls.__module__.startswith("pushforward.")} - covered
    if missing:
        raise SystemExit(f"no file holds {sorted(cls.__name__ for cls in missing)}")


if __name__ == "__main__":
    main()
