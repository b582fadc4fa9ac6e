"""pushforward itself, through its public methods: `flow.log_prob`, `flow.sample`, `pf.fit`.

`log_prob` and `sample` compile themselves and check their input; that is part of the time. The training step is the one
a user would write around `flow.log_prob` with `pushforward.trainable`. A family is the recipe of its name; the slow
direction of maf, nsf_ar and iaf is run by the library's default method, but for d_pass_step, which has
`method="sequential"`. sample_gradient is value and gradient, in all trained leaves, of the mean squared norm of the
samples; it and sample_in_jit are compiled by the caller. fit: `pf.nsf` and `pf.fit` at their defaults,
the held-out rows handed over as `validation`.
"""

import itertools
import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import ours_images
import ours_residual
from jax_operations import perturbed, training_step
from protocol import Operation, durations, normal_rows, pixels, serve

import pushforward as pf

LEVELS = 256
COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"


# Parameters that a conditioner sets for each coordinate it acts on.
PARAMETERS = {
    "nsf": lambda n_bins: 3 * n_bins - 1,
    "real_nvp": lambda n_bins: 2,
    "maf": lambda n_bins: 2,
    "iaf": lambda n_bins: 2,
    "nsf_ar": lambda n_bins: 3 * n_bins - 1,
}
# Sizes of the transformers, equal to those of their peers.
LAWS = {
    "naf": {"n_units": 8},
    "naf_ar": {"n_units": 8},
    "umnn_maf": {"n_embedded": 8},
    "sos_flow": {"degree": 4, "n_squares": 3},
    "bernstein_flow": {"degree": 16},
}
AUTOREGRESSIVE = ("maf", "iaf", "nsf_ar")


def build(workload: dict) -> dict[str, Operation]:
    if workload["family"] == "glow":
        return ours_images.build(workload)
    if workload["family"] in ours_residual.FAMILIES:
        return ours_residual.build(workload)
    batch = workload["batch"]
    flow, trained, static = _parts(_recipe(workload), _moved_by(workload))
    x = jnp.asarray(normal_rows(batch, workload["dim"]))
    score = jax.jit(lambda arrays, x: eqx.combine(arrays, static).log_prob(x))
    draw = jax.jit(lambda arrays, key: eqx.combine(arrays, static).sample(batch, key=key))
    through = jax.jit(
        jax.value_and_grad(
            lambda arrays, key: jnp.square(eqx.combine(arrays, static).sample(batch, key=key)).sum(1).mean()
        )
    )
    key = jax.random.key(0)
    operations = {
        "log_prob": lambda: flow.log_prob(x).block_until_ready(),
        "log_prob_in_jit": lambda: score(trained, x).block_until_ready(),
        "training_step": _step(trained, static, x),
        "sample": lambda: flow.sample(batch, key=0).block_until_ready(),
        "sample_in_jit": lambda: draw(trained, key).block_until_ready(),
        "sample_gradient": lambda: jax.block_until_ready(through(trained, key))[0],
    }
    if workload["family"] in PARAMETERS:
        operations["products"] = _products(workload)
    if workload["family"] == "iaf":
        _, trained, static = _parts(_recipe(workload, method="sequential"), _moved_by(workload))
        operations["d_pass_step"] = _step(trained, static, x)
    return operations


def _recipe(workload: dict, **options: str) -> pf.Flow:
    """The recipe of the family's name, at the sizes of the workload."""
    sizes: dict[str, int] = {name: workload[name] for name in ("dim", "n_layers", "width", "depth")}
    if workload["family"] in ("nsf", "nsf_ar"):
        sizes["n_bins"] = workload["n_bins"]
    sizes |= LAWS.get(workload["family"], {})
    return getattr(pf, workload["family"])(key=0, **sizes, **options)


def _moved_by(workload: dict) -> float:
    """How far the weights are moved: less where hidden layers are wider than 256, or long sequences could overflow."""
    return 0.02 * min(1.0, 256 / workload["width"])


def _parts(flow: pf.Flow, moved_by: float = 0.02) -> tuple[pf.Flow, pf.Flow, pf.Flow]:
    """The flow with every weight moved a little, and its trained and other leaves."""
    trained, static = eqx.partition(flow, pf.trainable(flow))
    trained = perturbed(trained, moved_by)
    return eqx.combine(trained, static), trained, static


def _step(trained: pf.Flow, static: pf.Flow, x: jax.Array, options: dict[str, Any] | None = None) -> Operation:
    return training_step(trained, lambda arrays, x: eqx.combine(arrays, static).log_prob(x).mean(), x, options)


def _products(workload: dict) -> Operation:
    """The matrix products of the conditioners alone, batch last, one layer after the other; nothing between them.

    Those of an autoregressive conditioner are taken without its mask: from all coordinates to the parameters of all.
    """
    dim, width, batch = workload["dim"], workload["width"], workload["batch"]
    n_moved = dim if workload["family"] in AUTOREGRESSIVE else (dim + 1) // 2
    n_read = dim if workload["family"] in AUTOREGRESSIVE else dim - n_moved
    n_parameters = PARAMETERS[workload["family"]](workload["n_bins"])
    sizes = [n_read] + [width] * workload["depth"] + [n_parameters * n_moved]
    keys = jax.random.split(jax.random.key(0), len(sizes) - 1)
    shapes = [(after, before) for before, after in itertools.pairwise(sizes)]
    network = [jax.random.normal(key, shape) / shape[1] ** 0.5 for key, shape in zip(keys, shapes, strict=True)]
    layers = [[jnp.copy(matrix) for matrix in network] for _ in range(workload["n_layers"])]
    first = jnp.asarray(normal_rows(batch, dim).T[:n_read])

    @jax.jit
    def run(layers: list[list[jax.Array]], h: jax.Array) -> list[jax.Array]:
        results = []
        for matrices in layers:
            for matrix in matrices:
                h = matrix @ h
            results.append(h)  # all of it is returned, so no product is cut down to what the next layer reads
            h = h[:n_read]
        return results

    return lambda: jax.block_until_ready(run(layers, first))[-1]


def fit(data: str, seed: int, learning_rate: float | None, budget: float) -> dict:
    """Train on the rows of `data`; held-out log-likelihood and seconds after each epoch."""
    with np.load(data) as rows:
        train, validation = rows["train"], rows["held_out"]
    built = time.perf_counter()
    flow = pf.nsf(dim=train.shape[1], key=seed)
    jax.block_until_ready(eqx.filter(flow, eqx.is_array))
    options = {} if learning_rate is None else {"learning_rate": learning_rate}
    started = time.perf_counter()
    _, history = pf.fit(flow, train, key=seed, validation=validation, progress=False, **options)
    first = history.earlier or history  # before a second training from a baseline, if there was one
    curves = (first, history) if history.earlier else (history,)
    return {
        "build_seconds": started - built,
        "seconds": [seconds for part in curves for seconds in part.seconds],
        "validation": [nats for part in curves for nats in part.validation],
        "compile_seconds": first.compile_seconds,
        "whole_call_seconds": time.perf_counter() - started,
        "stop_reason": history.stop_reason,
    }


def recipe(name: str, shape: list[int], batch: int) -> dict:
    """Seconds of construction and of the first and a later call of a recipe at its default size.

    The step is compiled as `fit` compiles its own: with options for images, with none for vectors.
    """
    from pushforward.numerics.compiler_options import compiler_options  # earlier versions, which this measures, lack it

    started = time.perf_counter()
    build = getattr(pf, name)
    flow = build(shape[0], key=0) if len(shape) == 1 else build(tuple(shape), levels=LEVELS, key=0)
    jax.block_until_ready(eqx.filter(flow, eqx.is_array))
    constructed = time.perf_counter() - started
    flow, trained, static = _parts(flow)
    x = jnp.asarray(normal_rows(batch, shape[0]) if len(shape) == 1 else pixels(batch, shape, LEVELS))
    timed: dict[str, Operation] = {
        "log_prob": lambda: flow.log_prob(x).block_until_ready(),
        "training_step": _step(trained, static, x, compiler_options(tuple(shape))),
        "sample": lambda: flow.sample(batch, key=0).block_until_ready(),
    }
    first, later = {}, {}
    for operation, call in timed.items():
        began = time.perf_counter()
        call()
        first[operation] = time.perf_counter() - began
        later[operation] = float(np.median(durations(call, 5)))
    return {"construct": constructed, "first": first, "later": later}


def rows(first: int, second: int) -> dict[str, int]:
    """Programs compiled while scoring `first` rows, then one more call with `second` rows of the same flow."""
    compiled: list[str] = []

    def listen(event: str, duration: float, **details: object) -> None:
        if event == COMPILE_EVENT:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    flow = pf.nsf(dim=4, key=0)
    data = np.random.default_rng(0).standard_normal((max(first, second), 4))
    counts = {}
    for n in (first, second):
        before = len(compiled)
        flow.log_prob(data[:n]).block_until_ready()
        counts[str(n)] = len(compiled) - before
    return counts


if __name__ == "__main__":
    serve(
        build, fit=fit, recipe=recipe, rows=rows, inverse_error=ours_residual.inverse_error, train=ours_residual.train
    )
