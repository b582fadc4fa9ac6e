"""The inverse of masked and emerging convolutions: how fast in which order, how far off, and what sees what.

    python benchmarks/convolutions.py --part orders    # the orders of substitution and the layer's convolution
    python benchmarks/convolutions.py --part errors    # round trips over the side of the image, in both precisions
    python benchmarks/convolutions.py --part fields    # pictures of triangular matrices and receptive fields

orders: 32 x 32 x 8, batch 64, 3 x 3, float32; compiled, with the batch on the device. The variants take turns in every
round, and ratios are formed within a round, so that other work on the machine touches all of them.
errors: greatest |forward(inverse(x)) - x| over 16 images x ~ N(0, 1), for kernels whose taps together weigh a given
multiple of the diagonal.
Results go to `benchmarks/results/convolutions_<part>.json`, `.md` and, for fields, `.png`; on an accelerator into
`benchmarks/results/accelerator/`.
"""

import argparse
import datetime
import functools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from environments import command

from pushforward.bijections import EmergingConvolution, MaskedConvolution, PeriodicConvolution
from pushforward.bijections.convolutional.solve import ORDERS

RESULTS = Path(__file__).resolve().parent / "results"
SHAPE, BATCH = (32, 32, 8), 64
ROUNDS, VISIT_SECONDS, MOST_CALLS = 25, 0.05, 20
SIDES, IMAGES = (4, 8, 16, 32, 64), 16
WEIGHTS = (0.5, 1.0, 2.0, 10.0)  # what the taps of a pixel weigh together, in units of the diagonal
BAR, REACH = 3.0, 1.2  # emerging convolution: inverse / own forward


def drawn(shape: tuple[int, ...], weight: float = 0.5, seed: int = 0, **options: Any) -> MaskedConvolution:
    """A masked convolution with random taps whose absolute values sum to `weight` in every row of the matrix."""
    layer, random = MaskedConvolution(shape, **options), np.random.default_rng(seed)
    taps, factor = random.normal(size=layer.taps.shape), 0.1 * random.normal(size=layer.factor.shape)
    taps *= weight / np.abs(taps).sum((0, 2))[None, :, None]
    dtype = layer.taps.dtype
    return eqx.tree_at(lambda m: (m.taps, m.factor), layer, (jnp.asarray(taps, dtype), jnp.asarray(factor, dtype)))


def emerging(shape: tuple[int, ...], weight: float = 0.5, **options: Any) -> EmergingConvolution:
    """The same twice, in opposite orders."""
    layer = EmergingConvolution(shape, **options)
    parts = (drawn(shape, weight, seed, rotation=turns, **options) for seed, turns in ((0, 0), (1, 2)))
    return eqx.tree_at(lambda e: (e.first, e.second), layer, tuple(parts))


def of_batch(bijection: Any, inverse: bool) -> Callable[[jax.Array], jax.Array]:
    """One direction of a layer, its weights arguments of the program as they are in a flow's."""
    program = jax.jit(lambda b, x: jax.vmap(b.inverse if inverse else b.forward)(x))
    return functools.partial(program, bijection)


def with_xla_convolution(layer: MaskedConvolution) -> Callable[[jax.Array], jax.Array]:
    """The layer's convolution by XLA's own operation."""
    side = layer.kernel_size
    offsets, channels = (*layer.stencil.offsets, (0, 0)), layer.shape[2]
    centre = layer._centre()[0]

    @jax.jit
    def program(taps: jax.Array, centre: jax.Array, x: jax.Array) -> jax.Array:
        kernel = jnp.zeros((side, side, channels, channels))
        for (row, column), tap in zip(offsets, (*taps, centre), strict=True):
            kernel = kernel.at[row + side // 2, column + side // 2].set(tap.T)
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    return functools.partial(program, layer.taps, centre)


def pixels_with_batch_last(layer: MaskedConvolution) -> Callable[[jax.Array], jax.Array]:
    """The pixel loop written by hand on arrays whose last axis is the batch; transposed on the way in and out."""
    mask, (height, width, channels) = layer.stencil, layer.shape
    radius, right = mask.radius, mask.right

    @jax.jit
    def program(taps: jax.Array, centre: jax.Array, z: jax.Array) -> jax.Array:
        inverse = jnp.linalg.inv(centre)
        image = jnp.transpose(z @ inverse.T, (1, 2, 3, 0)).reshape(height * width, channels, -1)
        weights = jnp.swapaxes(inverse @ taps, 0, 1).reshape(channels, -1)

        def step(t: jax.Array, padded: jax.Array) -> jax.Array:
            i, j = jax.lax.div(t, width), jax.lax.rem(t, width)
            above = jax.lax.dynamic_slice(padded, (i, j, 0, 0), (radius, radius + 1 + right, channels, len(z)))
            left = jax.lax.dynamic_slice(padded, (i + radius, j, 0, 0), (1, radius, channels, len(z)))
            seen = jnp.concatenate([above.reshape(-1, len(z)), left.reshape(-1, len(z))])
            new = (image[t] - weights @ seen)[None, None]
            return jax.lax.dynamic_update_slice(padded, new, (i + radius, j + radius, 0, 0))

        padded = jnp.zeros((height + radius, width + radius + right, channels, len(z)), z.dtype)
        padded = jax.lax.fori_loop(0, height * width, step, padded, unroll=2)
        return jnp.transpose(padded[radius:, radius : radius + width], (3, 0, 1, 2))

    return functools.partial(program, layer.taps, layer._centre()[0])


def timed(call: Callable[[], Any]) -> float:
    """The median seconds of a call, over about VISIT_SECONDS."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    calls = max(1, min(MOST_CALLS, int(VISIT_SECONDS / (time.perf_counter() - start))))
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def in_turns(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every call by round; the order rotates."""
    for call in calls.values():
        jax.block_until_ready(call())
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            seconds[name].append(timed(calls[name]))
    return seconds


def orders(rounds: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(BATCH, *SHAPE)), jnp.float32)
    rows = []
    for kind in ("raster", "quadrant"):
        layer, pair = drawn(SHAPE, mask=kind), emerging(SHAPE, mask=kind)
        z, code = of_batch(layer, inverse=True)(x), of_batch(pair, inverse=True)(x)
        inverses = {order: of_batch(drawn(SHAPE, mask=kind, order=order), inverse=False) for order in ORDERS}
        inverses["pixel, batch last"] = pixels_with_batch_last(layer)
        calls = {
            "convolution": functools.partial(of_batch(layer, inverse=True), x),
            "convolution by XLA": functools.partial(with_xla_convolution(layer), x),
            "emerging convolution": functools.partial(of_batch(pair, inverse=True), x),
            "inverse of emerging convolution": functools.partial(of_batch(pair, inverse=False), code),
            **{f"inverse: {name}": functools.partial(inverse, z) for name, inverse in inverses.items()},
        }
        for name, inverse in inverses.items():
            np.testing.assert_allclose(inverse(z), x, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(calls["convolution by XLA"](), z, atol=1e-4)
        np.testing.assert_allclose(calls["inverse of emerging convolution"](), x, atol=1e-4)
        seconds = in_turns(calls, rounds)
        for name, durations in seconds.items():
            base = "emerging convolution" if "emerging" in name else "convolution"
            ratios = [above / below for above, below in zip(durations, seconds[base], strict=True)]
            row = {
                "mask": kind,
                "what": name,
                "ms": 1e3 * statistics.median(durations),
                "fastest_ms": 1e3 * min(durations),
            }
            rows.append({**row, "over": base, "ratio": statistics.median(ratios)})
    return {"rows": rows, "shape": SHAPE, "batch": BATCH, "rounds": rounds, "bar": BAR, "reach": REACH}


def orders_page(result: dict[str, Any]) -> list[str]:
    lines = [
        f"Images {result['shape']}, batch {result['batch']}, 3 x 3 kernels, float32. Medians over {result['rounds']} "
        "rounds in which all take turns; a ratio is formed within a round. Inverse: data from code, by substitution, "
        'in three orders with the batch first, as the layer runs them; "batch last" is the same loop written by hand '
        "for arrays with the batch as their last axis.",
        "",
        "| mask | what | ms | fastest, ms | over the layer's own convolution |",
        "|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        figures = f"{row['ms']:.2f} | {row['fastest_ms']:.2f} | {row['ratio']:.2f}"
        lines.append(f"| {row['mask']} | {row['what']} | {figures} |")
    met = [
        f"{row['mask']} {row['ratio']:.2f}"
        for row in result["rows"]
        if row["what"] == "inverse of emerging convolution"
    ]
    return [*lines, "", f"Emerging inverse over own convolution: {', '.join(met)}; bar {BAR:g}, to reach {REACH:g}."]


def errors(rounds: int) -> dict[str, Any]:
    rows = []
    for dtype in ("float32", "float64"):
        with jax.enable_x64(dtype == "float64"):
            for weight in WEIGHTS:
                row_errors = []
                for side in SIDES:
                    layer = drawn((side, side, 2), weight)
                    x = jnp.asarray(np.random.default_rng(1).normal(size=(IMAGES, side, side, 2)), dtype)
                    back = of_batch(layer, inverse=False)(of_batch(layer, inverse=True)(x))
                    error = float(np.max(np.abs(np.asarray(back) - np.asarray(x))))
                    row_errors.append(error if np.isfinite(error) else None)
                rows.append({"dtype": dtype, "weight": weight, "errors": row_errors})
    return {"rows": rows, "sides": SIDES, "images": IMAGES}


def errors_page(result: dict[str, Any]) -> list[str]:
    head = " | ".join(f"side {side}" for side in result["sides"])
    lines = [
        f"Greatest |forward(inverse(x)) - x| over {result['images']} images (side, side, 2), x ~ N(0, 1), raster mask "
        "3 x 3, random taps. Weight: the absolute values of a row of taps together, over the diagonal. Up to one the "
        "error does not grow along the image; above it grows exponentially, whatever the order, for so does the "
        "inverse matrix itself.",
        "",
        f"| precision | weight | {head} |",
        "|---" * (2 + len(result["sides"])) + "|",
    ]
    for row in result["rows"]:
        cells = " | ".join("overflow" if error is None else f"{error:.1e}" for error in row["errors"])
        lines.append(f"| {row['dtype']} | {row['weight']:g} | {cells} |")
    return lines


def fields(rounds: int) -> dict[str, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    shape, side = (5, 5, 2), 15
    layers = {
        "masked, raster": drawn(shape),
        "masked, half a turn": drawn(shape, rotation=2),
        "masked, quadrant": drawn(shape, mask="quadrant"),
        "emerging, raster": emerging(shape),
        "periodic": PeriodicConvolution(shape, key=jax.random.key(0)),
    }
    seen = {
        "masked, raster": drawn((side, side, 1)),
        "masked, half a turn": drawn((side, side, 1), rotation=2),
        "masked, quadrant": drawn((side, side, 1), mask="quadrant"),
        "emerging, raster": emerging((side, side, 1)),
        "emerging, quadrant": emerging((side, side, 1), mask="quadrant"),
        "emerging, raster 5 x 5": emerging((side, side, 1), kernel_size=5),
    }
    figure, axes = plt.subplots(3, 6, figsize=(15, 8))
    for ax in axes.flat:
        ax.axis("off")
    for column, (name, layer) in enumerate(layers.items()):
        jacobian = np.asarray(jax.jacrev(layer.inverse)(jnp.zeros(shape))).reshape(50, 50)
        back = np.asarray(jax.jacrev(layer.forward)(jnp.zeros(shape))).reshape(50, 50)
        for row, (matrix, what) in enumerate(((jacobian, "dz/dx"), (back, "dx/dz"))):
            ax = axes[row, column]
            ax.axis("on")
            ax.imshow(np.log10(np.maximum(np.abs(matrix), 1e-12)), cmap="Greys", vmin=-6, vmax=0)
            ax.set(xticks=[], yticks=[], title=f"{name}\n{what}")
    sizes = []
    for column, (name, layer) in enumerate(seen.items()):
        field = receptive_field(layer, side)
        sizes.append({"layer": name, "pixels": int(field.sum()), "box": [int(n) for n in box(field)]})
        ax = axes[2, column]
        ax.axis("on")
        ax.imshow(field, cmap="Greys", vmin=0, vmax=1.5)
        ax.plot(side // 2, side // 2, "x", color="tab:red")
        ax.set(
            xticks=[], yticks=[], title=f"{name}\n{field.sum()} pixels, {sizes[-1]['box'][0]} x {sizes[-1]['box'][1]}"
        )
    figure.tight_layout()
    figure.savefig(RESULTS / "convolutions_fields.png", dpi=90)
    return {"rows": sizes, "jacobians_of": list(layers)}


def receptive_field(layer: Any, side: int) -> np.ndarray:
    """Which pixels of the image move the middle pixel of the code, found by moving each of them in turn."""
    steps = jnp.eye(side * side).reshape(-1, side, side, 1)
    middle = np.asarray(jax.vmap(layer.inverse)(steps))[:, side // 2, side // 2, 0]
    still = np.asarray(layer.inverse(jnp.zeros((side, side, 1))))[side // 2, side // 2, 0]
    return (middle != still).reshape(side, side)


def box(field: np.ndarray) -> np.ndarray:
    """Height and width of what is set."""
    return np.ptp(np.argwhere(field), axis=0) + 1


def fields_page(result: dict[str, Any]) -> list[str]:
    lines = [
        "Rows one and two of the picture: |dz/dx| of the convolution and |dx/dz| of its inverse, 5 x 5 x 2 numbers in "
        "raster order, log scale. Row three: the pixels of the image that move the pixel of the code at the cross.",
        "",
        "![Jacobians and receptive fields](convolutions_fields.png)",
        "",
        "| layer, 3 x 3 unless said | pixels seen | rows x columns |",
        "|---|---|---|",
    ]
    return [*lines, *(f"| {r['layer']} | {r['pixels']} | {r['box'][0]} x {r['box'][1]} |" for r in result["rows"])]


PARTS = {"orders": (orders, orders_page), "errors": (errors, errors_page), "fields": (fields, fields_page)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    measure, page = PARTS[options.part]
    load = os.getloadavg()[0]
    result = measure(options.rounds)
    device = jax.devices()[0]
    folder = RESULTS if device.platform == "cpu" else RESULTS / "accelerator"
    kind = device.platform if device.platform == "cpu" else device.device_kind
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {kind}, jax {jax.__version__}"
    result = {
        "command": command("convolutions.py"),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": machine,
        "load_before": round(load, 2),
        **result,
    }
    made = f"Made by `{result['command']}` on {result['date']}: {machine}; load before the run {load:.2f}."
    body = "\n".join([f"# Convolutions with an inverse: {options.part}", "", made, "", *page(result)])
    folder.mkdir(exist_ok=True)
    (folder / f"convolutions_{options.part}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (folder / f"convolutions_{options.part}.md").write_text(body + "\n", encoding="utf-8")
    print(body)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
