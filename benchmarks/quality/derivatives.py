"""Second derivatives of every recipe against finite differences, in float64.

    python benchmarks/quality/derivatives.py                       # all recipes
    python benchmarks/quality/derivatives.py --recipes nsf maf     # some; the others keep their last figures

For log p(x) and for the sampler (the values and the log-determinant of the base-to-data direction), a gradient g in all
trained weights and the point, along one random direction d: forward over reverse is the tangent of g, reverse over
reverse its cotangent, both are H d. The figure is the largest error over the largest entry of H d, which a Richardson
difference of g gives to about ten digits. Weights are perturbed by normal noise of deviation 0.2, except where a layer
is scaled to be contractive (0.1). Results go to `benchmarks/results/derivatives.*`.
"""

import argparse
import inspect
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

jax.config.update("jax_enable_x64", True)

import pushforward as pf  # noqa: E402
from pushforward.recipes import IMAGE_RECIPES, RECIPES  # noqa: E402

RESULTS = Path(__file__).resolve().parent.parent / "results"
SMALL = {
    "n_layers": 2, "width": 8, "depth": 2, "n_bins": 4, "n_units": 3, "n_components": 3, "n_embedded": 3, "degree": 3,
    "cycle": 2, "n_scales": 1,
}  # fmt: skip
STEP = 1e-5
MODES = ("reverse over reverse", "forward over reverse")


def built(name: str) -> pf.Flow:
    """The recipe at small sizes, with perturbed weights."""
    recipe = {**RECIPES, **IMAGE_RECIPES}[name]
    known = inspect.signature(recipe).parameters
    options = {key: value for key, value in SMALL.items() if key in known}
    flow = recipe((4, 4, 2) if name in IMAGE_RECIPES else 3, key=0, **options)
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    random, deviation = np.random.default_rng(0), 0.1 if "resnet" in name or "residual" in name else 0.2
    moved = jax.tree.map(lambda a: jnp.asarray(a + deviation * random.normal(size=a.shape)), trained)
    # not finalised: that puts a contractive weight on its bound, where the map has a kink in the weight
    return eqx.combine(moved, rest)


def log_prob(flow: pf.Flow, x: jax.Array) -> jax.Array:
    return flow.log_prob(x)


def sampler(flow: pf.Flow, z: jax.Array) -> jax.Array:
    x, log_det = flow.bijection.forward_and_log_det(z)
    return jnp.sum(jnp.cos(jnp.arange(x.size, dtype=x.dtype)) * x.reshape(-1)) + log_det


def measured(flow: pf.Flow, function: Callable[[pf.Flow, jax.Array], jax.Array]) -> dict[str, Any]:
    """The relative error of each mode, or the error that it raises."""
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    random = np.random.default_rng(1)
    start, unravel = ravel_pytree((trained, jnp.asarray(0.7 * random.normal(size=flow.shape))))
    direction = jnp.asarray(random.normal(size=start.shape))

    def value(vector: jax.Array) -> jax.Array:
        trained, point = unravel(vector)
        return function(eqx.combine(trained, rest), point)

    gradient = jax.jit(jax.grad(value))
    ahead, behind, further, back = (np.asarray(gradient(start + s * STEP * direction)) for s in (1, -1, 2, -2))
    right = (4 * (ahead - behind) / (2 * STEP) - (further - back) / (4 * STEP)) / 3
    modes = {
        MODES[0]: lambda v, d: jax.vjp(jax.grad(value), v)[1](d)[0],
        MODES[1]: lambda v, d: jax.jvp(jax.grad(value), (v,), (d,))[1],
    }
    result: dict[str, Any] = {}
    for mode, second in modes.items():
        try:
            got = np.asarray(jax.jit(second)(start, direction))
            result[mode] = float(np.abs(got - right).max() / np.abs(right).max())
        except (TypeError, ValueError, NotImplementedError) as error:
            result[mode] = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
    return result


def shown(figure: Any) -> str:
    return figure if isinstance(figure, str) else f"{figure:.0e}"


def write(rows: dict[str, Any]) -> None:
    command = "python benchmarks/quality/derivatives.py"
    (RESULTS / "derivatives.json").write_text(json.dumps({"command": command, "rows": rows}, indent=1) + "\n")
    lines = [
        "# Second derivatives against finite differences",
        "",
        f"Made by `{command}` on {time.strftime('%Y-%m-%d')}: float64, Python {platform.python_version()}, "
        f"jax {jax.__version__}.",
        "",
        "Along one random direction in weights and point: the largest error over the largest entry. The difference "
        "itself is good for nine to eleven digits.",
        "",
        "| recipe | direction | " + " | ".join(MODES) + " |",
        "| --- | --- | --- | --- |",
    ]
    for name, directions in rows.items():
        for what, result in directions.items():
            lines.append(f"| {name} | {what} | " + " | ".join(shown(result[mode]) for mode in MODES) + " |")
    (RESULTS / "derivatives.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    names = [*RECIPES, *IMAGE_RECIPES]
    parser = argparse.ArgumentParser(description="Second derivatives of every recipe against finite differences.")
    parser.add_argument("--recipes", nargs="*", choices=names, default=names, metavar="recipe", help="default: all")
    options = parser.parse_args()
    path = RESULTS / "derivatives.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else {}
    for name in options.recipes:
        flow = built(name)
        rows[name] = {"log p": measured(flow, log_prob), "sampler": measured(flow, sampler)}
        for what, result in rows[name].items():
            print(f"{name:20} {what:8} " + "  ".join(f"{mode} {shown(result[mode])}" for mode in MODES), flush=True)
        write({known: rows[known] for known in names if known in rows})  # so that an interrupted run can go on


if __name__ == "__main__":
    main()
