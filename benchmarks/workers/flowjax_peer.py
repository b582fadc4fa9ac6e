"""FlowJAX 19.1.2.

nsf, real_nvp: `coupling_flow`; maf, nsf_ar, iaf: `masked_autoregressive_flow`. Over a standard normal, conditioners
plain ReLU networks (nn_width, nn_depth), its random permutations, `invert=True` (its default) but for iaf. Splines:
`RationalQuadraticSpline(knots=7, interval=5)`; its `knots` counts inner knots, so 7 of them are 8 bins. The others: its
default affine transformer. log_prob and sample are compiled with `jax.jit` over the
arrays of the flow: its methods do not compile themselves and would take some ten times as long.

fit: its `fit_to_data` at its defaults (Adam 5e-4, batches of 100, at most 100 epochs, patience 5) on a `coupling_flow`
at its defaults (8 layers, one hidden layer of 50) with `RationalQuadraticSpline(knots=8, interval=4)`, the spline of
its examples. `fit_to_data` reports no times and accepts no held-out rows, so its loop is run here over its
own `step`, `get_batches` and loss, with one compiled evaluation of the held-out rows an epoch.
"""

import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import paramax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import Normal
from flowjax.flows import coupling_flow, masked_autoregressive_flow
from flowjax.train.losses import MaximumLikelihoodLoss
from flowjax.train.train_utils import get_batches, step
from jax_operations import training_step
from protocol import Operation, normal_rows, serve

BATCH, EPOCHS, PATIENCE = 100, 100, 5


def build(workload: dict) -> dict[str, Operation]:
    spline = RationalQuadraticSpline(knots=workload["n_bins"] - 1, interval=5)
    make, transformer, invert = {
        "nsf": (coupling_flow, spline, True),
        "real_nvp": (coupling_flow, None, True),
        "maf": (masked_autoregressive_flow, None, True),
        "nsf_ar": (masked_autoregressive_flow, spline, True),
        "iaf": (masked_autoregressive_flow, None, False),
    }[workload["family"]]
    flow = make(
        jr.key(0),
        base_dist=Normal(jnp.zeros(workload["dim"])),
        transformer=transformer,
        invert=invert,
        flow_layers=workload["n_layers"],
        nn_width=workload["width"],
        nn_depth=workload["depth"],
    )
    x = jnp.asarray(normal_rows(workload["batch"], workload["dim"]))
    arrays, static = eqx.partition(flow, eqx.is_inexact_array)
    score = jax.jit(lambda arrays, x: eqx.combine(arrays, static).log_prob(x))
    draw = jax.jit(lambda arrays, key: eqx.combine(arrays, static).sample(key, (workload["batch"],)))
    key = jr.key(0)

    def mean_log_prob(arrays: eqx.Module, x: jax.Array) -> jax.Array:
        return paramax.unwrap(eqx.combine(arrays, static)).log_prob(x).mean()

    return {
        "log_prob": lambda: score(arrays, x).block_until_ready(),
        "log_prob_in_jit": lambda: score(arrays, x).block_until_ready(),
        "training_step": training_step(arrays, mean_log_prob, x),
        "sample": lambda: draw(arrays, key).block_until_ready(),
    }


def fit(data: str, seed: int, learning_rate: float | None, budget: float) -> dict:
    """Train on the rows of `data`; held-out log-likelihood and seconds after each epoch."""
    with np.load(data) as rows:
        train, held_out_rows = jnp.asarray(rows["train"]), jnp.asarray(rows["held_out"])
    key, flow_key = jr.split(jr.key(seed))
    built = time.perf_counter()
    flow = coupling_flow(
        flow_key,
        base_dist=Normal(jnp.zeros(train.shape[1])),
        transformer=RationalQuadraticSpline(knots=8, interval=4),
    )
    jax.block_until_ready(eqx.filter(flow, eqx.is_array))
    started = time.perf_counter()
    loss_fn = MaximumLikelihoodLoss()
    optimizer = optax.adam(learning_rate or 5e-4)
    params, static = eqx.partition(
        flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable)
    )
    state = optimizer.init(params)
    evaluate = eqx.filter_jit(loss_fn)
    seconds, validation, best = [], [], 0
    for epoch in range(EPOCHS):
        key, shuffle = jr.split(key)
        losses = []
        for (batch,) in zip(*get_batches([jr.permutation(shuffle, train)], BATCH), strict=True):
            key, subkey = jr.split(key)
            params, state, loss = step(
                params, static, batch, optimizer=optimizer, opt_state=state, loss_fn=loss_fn, key=subkey
            )
            losses.append(loss)
        validation.append(-evaluate(params, static, held_out_rows, key=key).item())
        seconds.append(time.perf_counter() - started)
        best = epoch if validation[-1] > validation[best] else best
        if epoch - best > PATIENCE or seconds[-1] > budget:
            break
    return {"build_seconds": started - built, "seconds": seconds, "validation": validation}


if __name__ == "__main__":
    serve(build, fit=fit)
