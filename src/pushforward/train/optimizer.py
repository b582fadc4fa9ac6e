"""How a step changes the weights: the default optimiser, or a caller's with the loss under the names of optax."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import Array

# The names of optax's extra arguments: most optimisers need the first three, Sophia `obj_fn`, SAM `grad_fn` alone.
# A line search of optax refuses names that it does not know, hence the order.
_EXTRA = (("value", "grad", "value_fn"), ("value", "grad", "value_fn", "obj_fn", "grad_fn"), ("grad_fn",))


class UpdateRule(NamedTuple):
    """How a step changes the weights; hashable, a part of the program.

    Attributes:
        optimizer: a gradient transformation, clipping included.
        is_default: whether it is the default optimiser: the loop scales its updates by the schedule.
        is_averaged: whether there is an exponential moving average of the weights.
    """

    optimizer: Any
    is_default: bool
    is_averaged: bool


def update_rule(optimizer: Any, clip: float | None, ema: float | None) -> UpdateRule:
    """The rule for a caller's optimiser, or the default one for None."""
    transformation = default_optimizer(clip) if optimizer is None else with_clipping(optimizer, clip)
    return UpdateRule(transformation, optimizer is None, ema is not None)


@functools.lru_cache(maxsize=32)
def default_optimizer(clip: float | None) -> optax.GradientTransformation:
    """Clipping by global norm, then Adam; the learning rate is applied by the loop."""
    parts = [] if clip is None else [optax.clip_by_global_norm(clip)]
    return optax.chain(*parts, optax.scale_by_adam())


@functools.lru_cache(maxsize=32)
def with_clipping(optimizer: Any, clip: float | None) -> optax.GradientTransformationExtraArgs:
    """A caller's optimiser after clipping by global norm; its update accepts extra arguments."""
    if isinstance(optimizer, optax.MultiSteps):  # it has the methods of a transformation, but is not one
        return with_clipping(optimizer.gradient_transformation(), clip)
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"optimizer: expected an optimiser of optax, such as optax.adam(1e-3), got {type(optimizer).__name__}."
        )
    extended = optax.with_extra_args_support(optimizer)
    return extended if clip is None else optax.chain(optax.clip_by_global_norm(clip), extended)


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
        optimizer: from `with_clipping`.
        opt_state, params: its state, and the trained arrays.
        value, gradient: of the loss there.
        functions: from `loss_functions`.

    Raises:
        ValueError: if the update fails with every set of extra arguments, or expects other parameters than arrays.
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
        except AttributeError as error:
            raise ValueError(
                f"optimizer: its update failed on the trained arrays: {error}. optax.lookahead, which needs pairs of "
                "fast and slow weights, is not supported: `ema` averages the weights instead."
            ) from error
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
