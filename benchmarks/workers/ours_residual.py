"""Residual flows of this library as the benchmarks time them: training passes with a key, norms renewed after steps.

The log-determinant is the same estimate in every direction and for every library (`residual_settings`), though ours
would be exact in scoring at this size. `inverse` maps latent points to data without a log-determinant. With `weights`
the flow is a trained one, from the file that `train` has written.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax_operations import LEARNING_RATE, perturbed
from protocol import Operation, normal_rows
from residual_settings import CONTINUATION, LIPSCHITZ, N_EXACT, N_TERMS

import pushforward as pf
from pushforward.bijections import Contractive, PowerSeries, RussianRoulette
from pushforward.core.state import finalise, refresh

FAMILIES = ("residual_flow", "i_resnet")


def build(workload: dict) -> dict[str, Operation]:
    flow = _flow(workload)
    x, batch = jnp.asarray(normal_rows(workload["batch"], workload["dim"])), workload["batch"]
    invert = jax.jit(jax.vmap(flow.bijection.forward))
    return {
        "log_prob": lambda: flow.log_prob(x).block_until_ready(),
        "training_step": _training_step(flow, x),
        "sample": lambda: flow.sample(batch, key=0).block_until_ready(),
        "inverse": lambda: invert(x).block_until_ready(),
    }


def inverse_error(workload: dict) -> dict[str, float]:
    """The greatest error of a coordinate after `inverse` and the map back, both in float32."""
    flow, z = _flow(workload), normal_rows(workload["batch"], workload["dim"])
    x = jax.jit(jax.vmap(flow.bijection.forward))(jnp.asarray(z))
    return {"inverse": float(np.abs(np.asarray(jax.jit(jax.vmap(flow.bijection.inverse))(x)) - z).max())}


def train(workload: dict, weights: str, data: str, max_epochs: int) -> dict[str, float]:
    """Fit a flow to the rows of a file; its stack is written as arrays, which every library can take up."""
    with np.load(data) as rows:
        train = rows["train"]
    sizes = {name: workload[name] for name in ("dim", "n_layers", "width", "depth")}
    start = pf.residual_flow(key=0, lipschitz=LIPSCHITZ, **sizes)
    flow, history = pf.fit(start, train, key=0, max_epochs=max_epochs, progress=False)
    stack = flow.bijection.bijections[0]
    network = stack.layers.bijections[0].bijection.network
    z = np.zeros((workload["n_layers"], workload["dim"]), np.float32)
    scales = [layer.bijections[1] for layer in stack]
    shift = np.stack([layer.forward(row) for layer, row in zip(scales, z, strict=True)])
    scale = np.stack([layer.forward(row + 1) for layer, row in zip(scales, z, strict=True)]) - shift
    numbers = {f"weight{i}": layer.weight for i, layer in enumerate(network.layers)}
    numbers |= {f"bias{i}": layer.bias for i, layer in enumerate(network.layers)}
    numbers |= {"slopes": network.slopes, "log_scale": np.log(scale), "shift": shift}
    np.savez(weights, **{name: np.asarray(number) for name, number in numbers.items()})
    eqx.tree_serialise_leaves(weights + ".ours", stack)
    return {"validation": max(history.validation), "gaussian": history.gaussian, "steepest": _steepest(stack, train)}


def _steepest(stack: pf.bijections.Repeat, rows: np.ndarray) -> float:
    """The greatest norm of a block's Jacobian where the rows come by: how slowly plain repetition converges."""
    x, norms = jnp.asarray((rows[:512] - rows.mean(0)) / rows.std(0), jnp.float32), []
    for index in reversed(range(stack.n_layers)):
        layer = stack[index]
        z = jax.vmap(layer.bijections[1].inverse)(x)
        jacobians = jax.vmap(jax.jacfwd(layer.bijections[0].bijection.network))(z)
        norms.append(float(np.linalg.norm(np.asarray(jacobians), 2, axis=(1, 2)).max()))
        x = jax.vmap(layer.inverse)(x)
    return max(norms)


def _flow(workload: dict) -> pf.Flow:
    if workload.get("weights"):
        sizes = {name: workload[name] for name in ("dim", "n_layers", "width", "depth")}
        flow = pf.residual_flow(key=0, lipschitz=LIPSCHITZ, **sizes)
        stack = eqx.tree_deserialise_leaves(workload["weights"] + ".ours", flow.bijection.bijections[0])
        return eqx.tree_at(lambda flow: flow.bijection.bijections[0], flow, stack)
    estimator = (
        PowerSeries(N_TERMS)
        if workload["family"] == "i_resnet"
        else RussianRoulette(continuation=CONTINUATION, n_exact=N_EXACT)
    )
    sizes = {name: workload[name] for name in ("dim", "n_layers", "width", "depth")}
    flow = pf.residual_flow(key=0, lipschitz=LIPSCHITZ, log_det=estimator, **sizes)
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    flow = finalise(eqx.combine(perturbed(trained), rest))
    return jax.tree.map(lambda node: _scored_by(node, estimator), flow, is_leaf=lambda n: isinstance(n, Contractive))


def _scored_by(node: object, estimator: object) -> object:
    is_block = isinstance(node, Contractive)
    return eqx.tree_at(lambda block: block.scoring, node, estimator) if is_block else node


def _training_step(flow: pf.Flow, x: jax.Array) -> Operation:
    """Value and gradient with fresh random numbers, an Adam update, and power iteration, as one compiled program."""
    flags, optimizer = pf.trainable(flow), optax.adam(LEARNING_RATE)
    trained, rest = eqx.partition(flow, flags)
    arrays, static = eqx.partition(rest, eqx.is_array)

    @jax.jit
    def step(trained: pf.Flow, arrays: pf.Flow, state: optax.OptState, number: int) -> tuple:
        def loss(trained: pf.Flow) -> jax.Array:
            model = eqx.combine(trained, arrays, static)
            keys = jax.random.split(jax.random.key(number), len(x))
            return -jax.vmap(model.log_prob_one, (0, None, 0))(x, None, keys).mean()

        value, gradient = jax.value_and_grad(loss)(trained)
        updates, state = optimizer.update(gradient, state)
        model = refresh(eqx.combine(optax.apply_updates(trained, updates), arrays, static))
        trained, rest = eqx.partition(model, flags)
        return trained, eqx.filter(rest, eqx.is_array), state, value

    carry = [jax.tree.map(jnp.copy, trained), arrays, optimizer.init(trained), 0]

    def run() -> jax.Array:
        *parts, loss = jax.block_until_ready(step(*carry))
        carry[:] = [*parts, carry[3] + 1]
        return loss

    return run
