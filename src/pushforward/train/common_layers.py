"""The outer layers that a teacher and its student have in common: they change no divergence, so none is trained there.

KL(q | p) is the same before and after one and the same bijection. The student takes what it has not yet seen of the
data (moments, a filter) from its teacher; then the layers that are equal, leaf for leaf, are left out of both.
"""

from typing import Any

import equinox as eqx
import jax

from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import Chain
from pushforward.core.fields import trainable
from pushforward.core.flow import Flow
from pushforward.train.data import spline_bounds


def adopted(teacher: Any, student: Flow) -> Flow:
    """The student with its outer layers and its context's scaling filled as the teacher's, where it has none.

    Not one with splines: its scale depends on their box.
    """
    if not isinstance(teacher, Flow) or spline_bounds(student):
        return student
    if _is_unfilled(student.context_scaling) and _fits(teacher.context_scaling, student.context_scaling):
        student = eqx.tree_at(lambda f: f.context_scaling, student, teacher.context_scaling)
    theirs, ours = _layers(teacher), list(_layers(student))
    for back in range(1, min(len(theirs), len(ours)) + 1):
        if type(theirs[-back]) is not type(ours[-back]):
            break
        if _is_unfilled(ours[-back]) and _fits(theirs[-back], ours[-back]):
            ours[-back] = theirs[-back]
    return _with_layers(student, tuple(ours))


def without_common(teacher: Any, student: Flow) -> tuple[Any, Flow, Chain | None]:
    """Teacher and student without the outer layers they have in common, and these layers; None where there are none."""
    if not isinstance(teacher, Flow):
        return teacher, student, None
    theirs, ours = _layers(teacher), _layers(student)
    count = 0
    while count + 1 < min(len(theirs), len(ours)) and _are_common(theirs[-count - 1], ours[-count - 1]):
        count += 1
    if count == 0:
        return teacher, student, None
    common = Chain(ours[len(ours) - count :])
    return _with_layers(teacher, theirs[:-count]), _with_layers(student, ours[:-count]), common


def with_common(student: Flow, common: Chain | None) -> Flow:
    """The student with the layers outside that `without_common` left out."""
    return student if common is None else _with_layers(student, (*_layers(student), *common.bijections))


def _layers(flow: Flow) -> tuple[AbstractBijection, ...]:
    return flow.bijection.bijections if isinstance(flow.bijection, Chain) else (flow.bijection,)


def _with_layers(flow: Flow, layers: tuple[AbstractBijection, ...]) -> Flow:
    if not isinstance(flow.bijection, Chain):
        return flow if len(layers) == 1 else eqx.tree_at(lambda f: f.bijection, flow, Chain(layers))
    return eqx.tree_at(lambda f: f.bijection, flow, Chain(layers))


def _is_unfilled(layer: Any) -> bool:
    return hasattr(layer, "is_filled") and not bool(layer.is_filled)


def _fits(theirs: Any, ours: Any) -> bool:
    """Whether the teacher's layer is filled and could stand in the student's place."""
    return (
        type(theirs) is type(ours)
        and bool(theirs.is_filled)
        and [leaf.shape for leaf in jax.tree.leaves(theirs)] == [leaf.shape for leaf in jax.tree.leaves(ours)]
    )


def _are_common(theirs: AbstractBijection, ours: AbstractBijection) -> bool:
    trained = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(ours, trainable(ours))))
    return trained == 0 and ours.context_shape is None and bool(eqx.tree_equal(theirs, ours))
