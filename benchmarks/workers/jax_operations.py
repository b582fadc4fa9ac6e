"""What the two JAX workers share: the compiled training step."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from protocol import Operation

LEARNING_RATE = 1e-4


def training_step(
    trained: Any,
    mean_log_prob: Callable[[Any, jax.Array], jax.Array],
    x: jax.Array,
    options: dict[str, Any] | None = None,
) -> Operation:
    """Value and gradient of the mean negative log-likelihood, and an Adam update, as one compiled program.

    Args:
        trained: the arrays.
        mean_log_prob: called with the arrays and x.
        x: a batch.
        options: of the compiler.
    """
    optimizer = optax.adam(LEARNING_RATE)

    @functools.partial(jax.jit, compiler_options=options)
    def step(trained: Any, state: Any) -> tuple[Any, Any, jax.Array]:
        loss, gradient = jax.value_and_grad(lambda arrays: -mean_log_prob(arrays, x))(trained)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(trained, updates), state, loss

    carry = {"trained": jax.tree.map(jnp.copy, trained), "state": optimizer.init(trained)}

    def run() -> jax.Array:
        carry["trained"], carry["state"], loss = jax.block_until_ready(step(carry["trained"], carry["state"]))
        return loss

    return run


def perturbed(arrays: Any, scale: float = 0.02) -> Any:
    """Every weight moved a little, so that a flow which starts at the identity is timed as a trained one."""
    leaves, tree = jax.tree.flatten(arrays)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [leaf + scale * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, moved)
