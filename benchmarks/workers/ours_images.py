"""Glow of this library as the benchmarks time it: the recipe, of real-valued images, at the workload's sizes."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax_operations import perturbed, training_step
from protocol import Operation

import pushforward as pf


def build(workload: dict) -> dict[str, Operation]:
    shape, batch = tuple(workload["shape"]), workload["batch"]
    sizes = {name: workload[name] for name in ("n_scales", "n_layers", "width", "depth")}
    flow = pf.glow(shape, key=0, **sizes)
    trained, static = eqx.partition(flow, pf.trainable(flow))
    trained = perturbed(trained, 0.01)
    flow = eqx.combine(trained, static)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((batch, *shape)).astype(np.float32))
    return {
        "log_prob": lambda: flow.log_prob(x).block_until_ready(),
        "training_step": training_step(trained, lambda arrays, x: eqx.combine(arrays, static).log_prob(x).mean(), x),
        "sample": lambda: flow.sample(batch, key=0).block_until_ready(),
    }
