"""The outer layers that a teacher and its student have in common; distillation does not train them.

KL(q | p) does not change under a common bijection of both. The student first copies outer layers that are not filled
yet (moments, a filter) from its teacher; then the layers whose leaves are all equal are removed from both.
"""

from typing import Any

import equinox as eqx
import jax

from pushforward.core.bijection import AbstractBijection
from pushforward.core.chain import Chain, layers_of
from pushforward.core.fields import trainable
from pushforward.core.flow import Flow
from pushforward.train.data import reach_in_box


def adopt_outer_layers(teacher: Any, student: Flow) -> Flow:
    """The student, whose unfilled outer layers and context scaling are copied from the teacher.

    A student whose scale depends on the box of its transformers is returned unchanged.
    """
    if not isinstance(teacher, Flow) or reach_in_box(student) is not None:
        return student
    if _is_unfilled(student.context_scaling) and _fits(teacher.context_scaling, student.context_scaling):
        student = eqx.tree_at(lambda f: f.context_scaling, student, teacher.context_scaling)
    teacher_layers, student_layers = layers_of(teacher.bijection), list(layers_of(student.bijection))
    for index in range(1, min(len(teacher_layers), len(student_layers)) + 1):
        if type(teacher_layers[-index]) is not type(student_layers[-index]):
            break
        if _is_unfilled(student_layers[-index]) and _fits(teacher_layers[-index], student_layers[-index]):
            student_layers[-index] = teacher_layers[-index]
    return _with_layers(student, tuple(student_layers))


def without_common(teacher: Any, student: Flow) -> tuple[Any, Flow, Chain | None]:
    """Teacher and student without their common outer layers, and these layers; None where there are none."""
    if not isinstance(teacher, Flow):
        return teacher, student, None
    teacher_layers, student_layers = layers_of(teacher.bijection), layers_of(student.bijection)
    count = 0
    while count + 1 < min(len(teacher_layers), len(student_layers)) and _are_common(
        teacher_layers[-count - 1], student_layers[-count - 1]
    ):
        count += 1
    if count == 0:
        return teacher, student, None
    common = Chain(student_layers[len(student_layers) - count :])
    return _with_layers(teacher, teacher_layers[:-count]), _with_layers(student, student_layers[:-count]), common


def with_common(student: Flow, common: Chain | None) -> Flow:
    """The student with the outer layers that `without_common` removed."""
    return student if common is None else _with_layers(student, (*layers_of(student.bijection), *common.bijections))


def _with_layers(flow: Flow, layers: tuple[AbstractBijection, ...]) -> Flow:
    if not isinstance(flow.bijection, Chain) and len(layers) == 1:
        return flow
    return eqx.tree_at(lambda f: f.bijection, flow, Chain(layers))


def _is_unfilled(layer: Any) -> bool:
    return hasattr(layer, "is_filled") and not bool(layer.is_filled)


def _fits(teacher_layer: Any, student_layer: Any) -> bool:
    """Whether the teacher's layer is filled and can replace the student's."""
    return (
        type(teacher_layer) is type(student_layer)
        and bool(teacher_layer.is_filled)
        and [leaf.shape for leaf in jax.tree.leaves(teacher_layer)]
        == [leaf.shape for leaf in jax.tree.leaves(student_layer)]
    )


def _are_common(teacher_layer: AbstractBijection, student_layer: AbstractBijection) -> bool:
    trained = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(student_layer, trainable(student_layer))))
    return trained == 0 and student_layer.context_shape is None and bool(eqx.tree_equal(teacher_layer, student_layer))
