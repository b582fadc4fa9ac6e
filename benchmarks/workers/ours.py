"""pushforward itself, through its public methods: `flow.log_prob`, `flow.sample`, `pf.fit`.

`log_prob` and `sample` compile themselves and check their input; that is part of the time. The training step is the one
a user would write around `flow.log_prob` with `pushforward.trainable`. fit: `pf.nsf(dim=2)` and `pf.fit` at their
defaults, the held-out rows handed over as `validation`.
"""

import itertools
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax_operations import perturbed, training_step
from protocol import Operation, durations, normal_rows, serve

import pushforward as pf

COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"


def build(workload: dict) -> dict[str, Operation]:
    dim, batch = workload["dim"], workload["batch"]
    sizes = {"n_layers": workload["n_layers"], "width": workload["width"], "depth": workload["depth"]}
    builders = {
        "nsf": lambda: pf.nsf(dim=dim, key=0, n_bins=workload["n_bins"], **sizes),
        "real_nvp": lambda: pf.real_nvp(dim=dim, key=0, **sizes),
    }
    flow, trained, static = _parts(builders[workload["family"]]())
    x = jnp.asarray(normal_rows(batch, dim))
    score = jax.jit(lambda arrays, x: eqx.combine(arrays, static).log_prob(x))
    return {
        "log_prob": lambda: flow.log_prob(x).block_until_ready(),
        "log_prob_in_jit": lambda: score(trained, x).block_until_ready(),
        "training_step": training_step(trained, lambda arrays, x: eqx.combine(arrays, static).log_prob(x).mean(), x),
        "sample": lambda: flow.sample(batch, key=0).block_until_ready(),
        "products": _products(workload),
    }


def _parts(flow: pf.Flow) -> tuple[pf.Flow, pf.Flow, pf.Flow]:
    """The flow with every weight moved a little, and its trained and other leaves."""
    trained, static = eqx.partition(flow, pf.trainable(flow))
    trained = perturbed(trained)
    return eqx.combine(trained, static), trained, static


def _products(workload: dict) -> Operation:
    """The matrix products of the conditioners alone, batch last, one layer after the other; nothing between them."""
    dim, width, batch = workload["dim"], workload["width"], workload["batch"]
    n_parameters = {"nsf": 3 * workload["n_bins"] - 1, "real_nvp": 2}[workload["family"]]
    n_moved = (dim + 1) // 2
    sizes = [dim - n_moved] + [width] * workload["depth"] + [n_parameters * n_moved]
    keys = jax.random.split(jax.random.key(0), len(sizes) - 1)
    shapes = [(after, before) for before, after in itertools.pairwise(sizes)]
    network = [jax.random.normal(key, shape) / shape[1] ** 0.5 for key, shape in zip(keys, shapes, strict=True)]
    layers = [[jnp.copy(matrix) for matrix in network] for _ in range(workload["n_layers"])]
    first = jnp.asarray(normal_rows(batch, dim).T[: sizes[0]])

    @jax.jit
    def run(layers: list[list[jax.Array]], h: jax.Array) -> list[jax.Array]:
        results = []
        for matrices in layers:
            for matrix in matrices:
                h = matrix @ h
            results.append(h)  # all of it is returned, so no product is cut down to what the next layer reads
            h = h[: sizes[0]]
        return results

    return lambda: jax.block_until_ready(run(layers, first))[-1]


def fit(data: str, seed: int, learning_rate: float | None, budget: float) -> dict:
    """Train on the rows of `data`; held-out nats and seconds after each epoch."""
    with np.load(data) as rows:
        train, held = rows["train"], rows["held_out"]
    built = time.perf_counter()
    flow = pf.nsf(dim=train.shape[1], key=seed)
    jax.block_until_ready(eqx.filter(flow, eqx.is_array))
    options = {} if learning_rate is None else {"learning_rate": learning_rate}
    started = time.perf_counter()
    _, history = pf.fit(flow, train, key=seed, validation=held, progress=False, **options)
    return {
        "build_seconds": started - built,
        "seconds": history.seconds,
        "validation": history.validation,
        "compile_seconds": history.compile_seconds,
        "whole_call_seconds": time.perf_counter() - started,
        "stop_reason": history.stop_reason,
    }


def recipe(name: str, dim: int, batch: int) -> dict:
    """Seconds of construction and of the first and a later call of a recipe at its default size."""
    started = time.perf_counter()
    flow = getattr(pf, name)(dim=dim, key=0)
    jax.block_until_ready(eqx.filter(flow, eqx.is_array))
    constructed = time.perf_counter() - started
    flow, trained, static = _parts(flow)
    x = jnp.asarray(normal_rows(batch, dim))
    step = training_step(trained, lambda arrays, x: eqx.combine(arrays, static).log_prob(x).mean(), x)
    timed: dict[str, Operation] = {
        "log_prob": lambda: flow.log_prob(x).block_until_ready(),
        "training_step": step,
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
    serve(build, fit=fit, recipe=recipe, rows=rows)
