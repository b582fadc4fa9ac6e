"""What an optimiser of the caller's is given beyond the gradient: the loss, by the names that optax has for it."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from jaxtyping import Array

# What optimisers of optax ask for by name: most of them the first three, Sophia `obj_fn`, SAM `grad_fn` and no other.
# A line search of optax refuses names that it does not know, hence the order.
_EXTRA = (("value", "grad", "value_fn"), ("value", "grad", "value_fn", "obj_fn", "grad_fn"), ("grad_fn",))


def callers_update(
    optimizer: optax.GradientTransformation,
    memory: Any,
    weights: Any,
    value: Array,
    gradient: Any,
    functions: Mapping[str, Callable[..., Any]],
) -> tuple[Any, Any]:
    """Update and state of a caller's optimiser, which is given the loss under the names that optax has for it.

    Args:
        optimizer: what `steps.clipped` made of it.
        memory, weights: its state, and the trained arrays.
        value, gradient: of the loss there.
        functions: from `loss_functions`.

    Raises:
        ValueError: if the update fails whatever it is given.
    """
    extra: dict[str, Any] = {"value": value, "grad": gradient, **functions}
    update: Any = optimizer.update
    faults: list[Exception] = []
    for names in _EXTRA:
        try:
            return update(gradient, memory, weights, **{name: extra[name] for name in names})
        except (TypeError, ValueError) as error:
            if str(error).startswith("optimizer:"):
                raise
            faults.append(error)
    raise ValueError(
        "optimizer: its update failed with the extra arguments value, grad and value_fn (the loss at the weights, its "
        f"gradient, and the loss as a function of the weights on the same batch): {str(faults[0]).rstrip('.')}. Use an "
        "optimiser that needs no others, such as optax.adam."
    ) from faults[0]


def loss_functions(loss: Callable[[Any], Array], cure: str | None = None) -> dict[str, Callable[..., Any]]:
    """The loss and its gradient as functions of the weights, by the names that optax has for them.

    Args:
        loss: of the trained arrays, on the same batch by the same random numbers.
        cure: where the gradient of `loss` is an estimate and not the derivative of its value, what makes it one: a
            search along such a loss is an error that says so.
    """

    def value_fn(weights: Any) -> Array:  # of one argument, which a line search reads off the signature
        if cure is not None:
            raise ValueError(
                "optimizer: it searches along the loss, whose gradient is here an estimate and not the derivative of "
                f"its value. {cure}"
            )
        return loss(weights)

    return {"value_fn": value_fn, "obj_fn": value_fn, "grad_fn": lambda weights, _: jax.grad(loss)(weights)}
