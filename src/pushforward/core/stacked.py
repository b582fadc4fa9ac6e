"""Parameters with an axis too many: modules stacked leaf by leaf, or built under a vmap, and then called as one.

Broadcasting would turn the scores of such an ensemble into one number, their sum. So what a verb returns is compared
with the event's shape where it is traced: compiled programs pay nothing.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from pushforward.errors import ShapeError
from pushforward.numerics.arrays import is_array

_seen: set[tuple] = set()


class StackedError(ShapeError):
    """A result whose shape is not the event's."""


def check_shapes(module: Any, what: str, found: Any, event: tuple[int, ...]) -> None:
    """Refuse a pair of a value, which must have the event's shape, and a number; or a number alone, where it is one."""
    value, number = found if isinstance(found, tuple) else (None, found)
    if (value is None or value.shape == event) and number.shape == ():
        return
    got = f"{number.shape}" if value is None else f"{value.shape} with a number of shape {number.shape}"
    wanted = "()" if value is None else f"{event} with a number of shape ()"
    raise StackedError(
        f"{type(module).__name__}: expected {what} of shape {wanted}, got {got}: its parameters have other shapes than "
        f"its event {event} asks for. {_advice()}"
    )


class Explained:
    """A context in which an error about shapes, where all arrays of a module have one leading axis, says so."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, TypeError | ValueError | IndexError) or isinstance(error, StackedError):
            return
        if hasattr(self.module, "n_layers"):  # the layers of a `Repeat` are stacked by right
            return
        sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(self.module) if is_array(leaf)}
        if len(sizes) == 1 and sizes != {()}:
            raise StackedError(
                f"{type(self.module).__name__}: every array in it has a leading axis of {sizes.pop()[0]}, and it "
                f"failed ({error}). If its parameters are stacked: {_advice()}"
            ) from error


def check_parameters(distribution: Any, draw: Callable[[], Any]) -> None:
    """Refuse a distribution without parts whose parameters do not fit its event: the shape of a draw tells, its score,
    a sum, does not. Looked at once for each kind and shape."""
    fields: list[Any] = [getattr(distribution, field.name, None) for field in dataclasses.fields(distribution)]
    shapes = tuple(field.shape for field in fields if is_array(field))
    seen = type(distribution), distribution.shape, shapes
    if not shapes or seen in _seen or any(dataclasses.is_dataclass(field) for field in fields):
        return
    if any(isinstance(field, tuple) and any(map(dataclasses.is_dataclass, field)) for field in fields):
        return
    _seen.add(seen)  # before the draw, which may well score what it draws
    try:
        jax.eval_shape(draw)
    except NotImplementedError:  # it can only be scored
        return
    except Exception:
        _seen.discard(seen)
        raise


def _advice() -> str:
    return (
        "Map over stacked members, jax.vmap(lambda member: member.log_prob(x))(stacked), with eqx.filter_vmap where "
        "they hold more than arrays; or give the parameters the shape of one event."
    )
