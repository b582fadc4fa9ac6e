"""Extra arguments of a caller's optimiser beyond the gradient: the loss, under the names that optax uses for it."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from jaxtyping import Array

# The names of optax's extra arguments: most optimisers need the first three, Sophia `obj_fn`, SAM `grad_fn` alone.
# A line search of optax refuses names that it does not know, hence the order.
_EXTRA = (("value", "grad", "value_fn"), ("value", "grad", "value_fn", "obj_fn", "grad_fn"), ("grad_fn",))


def callers_update(
    optimizer: optax.GradientTransformation,
    opt_state: Any,
    params: Any,
    value: Array,
    gradient: Any,
    functions: Mapping[str, Callable[..., Any]],
) -> tuple[Any, Any]:
    """Updates and state of a caller's optimiser, called with the loss under the names that optax uses for it.

    Args:
        optimizer: from `steps.with_clipping`.
        opt_state, params: its state, and the trained arrays.
        value, gradient: of the loss there.
        functions: from `loss_functions`.

    Raises:
        ValueError: if the update fails with every set of extra arguments.
    """
    extra: dict[str, Any] = {"value": value, "grad": gradient, **functions}
    update_fn: Any = optimizer.update
    errors: list[Exception] = []
    for names in _EXTRA:
        try:
            return update_fn(gradient, opt_state, params, **{name: extra[name] for name in names})
        except (TypeError, ValueError) as error:
            if str(error).startswith("optimizer:"):
                raise
            errors.append(error)
    raise ValueError(
        "optimizer: its update failed with the extra arguments value, grad and value_fn (the loss at the weights, its "
        f"gradient, and the loss as a function of the weights on the same batch): {str(errors[0]).rstrip('.')}. Use an "
        "optimiser that needs no others, such as optax.adam."
    ) from errors[0]


def loss_functions(loss: Callable[[Any], Array], fix: str | None = None) -> dict[str, Callable[..., Any]]:
    """The loss and its gradient as functions of the parameters, under the names that optax uses for them.

    Args:
        loss: of the trained arrays, on the same batch with the same random numbers.
        fix: what to do where the gradient of `loss` is an estimate and not the derivative of its value. A line search
            along such a loss is an error that ends with this advice.
    """

    def value_fn(params: Any) -> Array:  # one argument: a line search reads the signature
        if fix is not None:
            raise ValueError(
                "optimizer: it searches along the loss, whose gradient is here an estimate and not the derivative of "
                f"its value. {fix}"
            )
        return loss(params)

    return {"value_fn": value_fn, "obj_fn": value_fn, "grad_fn": lambda params, _: jax.grad(loss)(params)}
