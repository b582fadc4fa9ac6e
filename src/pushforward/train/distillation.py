"""Density distillation: a student flow learns the density of a teacher flow."""

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from pushforward.core.chain import Chain
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.ensemble import check_single
from pushforward.core.flow import Flow
from pushforward.diagnostics.fidelity import (
    Fidelity,
    check_pair,
    check_sample_size,
    fidelity,
    paired_contexts,
    unknown_fidelity,
)
from pushforward.errors import NumericError, ShapeError
from pushforward.numerics.keys import as_key
from pushforward.numerics.programs import flatten
from pushforward.train.checks import check_divergences, check_options, check_precision
from pushforward.train.common_layers import adopt_outer_layers, with_common, without_common
from pushforward.train.data import Rows, warn_of_share_outside
from pushforward.train.distillation_loss import DistillationLoss
from pushforward.train.divergences import DistillationObjective, samples_of
from pushforward.train.loop import Options, train
from pushforward.train.one_step import OneStep, one_step_mismatch
from pushforward.train.state import finalise_trained
from pushforward.train.units import initialise_flow, outer_standardise, standard_samples, whiten_rows

_N_INITIAL = 10_000  # samples of the teacher whose moments initialise the student


def distill(
    teacher: AbstractDistribution,
    student: AbstractDistribution,
    *,
    key: PRNGKeyArray | int,
    context: Any = None,
    steps: int = 4000,
    batch_size: int = 256,
    learning_rate: float = 5e-3,
    optimizer: optax.GradientTransformation | None = None,
    clip: float | None = 5.0,
    ema: float | None = 0.99,
    forward: float = 0.9,
    annealing: float = 0.5,
    gradient: str = "path",
    n_next: int = 1,
    penalty: Callable[..., Array] | None = None,
    n_fidelity: int = 10_000,
    tolerance: float = 0.1,
    trainable: PyTree | None = None,
    progress: bool = True,
) -> tuple[Flow, Fidelity]:
    """Minimise a mean of KL(student | teacher) and KL(teacher | student), both with exact densities.

        (1 - f) E_{x ~ q}[log q(x) - log p(x)] - f E_{x ~ p}[log q(x)],   q student, p teacher

    The reverse divergence, on the student's samples, is mode-seeking: the student may drop a mode. The forward one, on
    fresh samples of the teacher, is mode-covering. The share f of the forward one starts at 1 and falls to `forward`.
    Training uses the teacher's standardised units, and omits the outer layers that both flows have in common. Outer
    layers of the student that are not filled yet are copied from the teacher, or filled with the moments of its
    samples. The student with the smallest validation loss is returned. A warning says how it is unfaithful.

    Args:
        teacher: any distribution with `log_prob` and, where `forward` or `annealing` is above 0, `sample`.
        student: a flow of the same shape and context shape; distilling twice continues.
        key: a JAX key or an int.
        context: (n, *context_shape) for conditional flows; each step draws a batch of its rows.
        steps: number of gradient steps.
        batch_size: samples of either flow a step.
        learning_rate: peak of the cosine schedule of the default optimiser (Adam).
        optimizer: any optax optimiser, with its learning rate, instead of Adam and the schedule. One that asks for
            `value` gets the loss of the step: the mean above on its samples, without the teacher's entropy, a constant
            (with `n_next` without that of the student's base too), plus the penalty. One that searches along the loss
            (L-BFGS with a line search) needs gradient="total" or forward=1; `clip=None` suits it.
        clip: bound on the global norm of the gradient, or None.
        ema: decay of an exponential moving average of the weights, which is returned, or None for the last weights.
        forward: the share f at the end, from 0 (the published recipe) to 1 (likelihood on the teacher's samples).
        annealing: share of the steps over which f falls from 1 to `forward`; 0 for none.
        gradient: of the reverse divergence: "path" (one more inverse pass for each sample; the noise vanishes as the
            student approaches its teacher), or "total", cheaper where the inverse is slow.
        n_next: samples of each next coordinate for one sample of its past (see `pushforward.train.one_step`), for a
            student `iaf` of one order and a teacher of one autoregressive layer of that order. With 2 or more, the
            student's entropy is exact and `gradient` is not used. 1: whole samples.
        penalty: a function that JAX can trace, from a batch (batch_size, *shape) of the student's samples in the data's
            units, and for conditional flows of their contexts, to one number that is added to the loss.
        n_fidelity: samples of either flow for the comparison at the end, at least 100.
        tolerance: nats of either divergence above which a warning is given.
        trainable: what to train, from `pushforward.freeze(student, lambda f: f.layers[0])`, as for `fit`.
        progress: show progress (a bar with rich, else a line).

    Returns:
        The student and a `Fidelity`: divergences both ways with standard errors, effective sample size, shares of the
        teacher's modes, times of both, and the `DistillationHistory` as its `history`. Where a density is not finite
        at samples, its figures are NaN, and a warning says why. Ctrl-C returns the best weights so far.

    A step whose loss or gradient is not finite is skipped and counted. After 25 consecutive failures training restores
    an earlier state and halves the learning rate, at most five times.

    Cost: a step draws and differentiates `batch_size` samples of the student, evaluates their density under the teacher
    (with "path" under the student too), and that of as many samples of the teacher under the student.

    Raises:
        ShapeError, DataError: if the flows or the context do not fit.
        ValueError: if an option is out of range, `n_next` or `optimizer` does not fit, or arrays have 16 bits.
        TrainingDiverged: if steps fail repeatedly.

    Reference: van den Oord et al. 2018 (Parallel WaveNet), section 4; path derivative: Roeder, Wu & Duvenaud 2017. The
    forward divergence and its annealing are ours.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> teacher = pf.bases.MultivariateNormal(2, covariance=np.array([[2.0, 1.0], [1.0, 2.0]]))
        >>> student, fidelity = pf.distill(
        ...     teacher, pf.linear_flow(dim=2, key=0), key=0, steps=400, n_fidelity=2000, progress=False
        ... )
        >>> print(fidelity.reverse_kl < 0.01)
        True
    """
    started = time.perf_counter()
    counts = {"steps": steps, "batch_size": batch_size, "n_next": n_next}
    check_options(counts, {"learning_rate": learning_rate, "clip": clip, "tolerance": tolerance}, ema)
    check_pair("distill", teacher, student)
    check_single("distill", "student", student)
    if not isinstance(student, Flow):
        raise TypeError(f"student: expected a Flow, got {type(student).__name__}. For integers pass Dequantised.flow.")
    check_precision("teacher", teacher)
    check_precision("student", student)
    check_sample_size("n_fidelity", n_fidelity)
    inner_teacher, inner, common = teacher, adopt_outer_layers(teacher, student), None
    if trainable is None:  # a caller's tree has the structure of the whole student
        inner_teacher, inner, common = without_common(teacher, inner)
    check_divergences(gradient, forward, annealing)
    _check_n_next(inner_teacher, inner, forward, n_next)
    _check_penalty(penalty, student, int(batch_size), forward)
    penalty_fn = None if penalty is None else _in_training_units(penalty, inner_teacher, inner, common)
    keys = jax.random.split(as_key(key), 5)
    standard_teacher, inner = _in_teachers_units(inner_teacher, inner)
    initial = _initial_samples(standard_teacher, inner, context, keys[0], forward > 0 or annealing > 0)
    if initial is not None:
        inner = initialise_flow(inner, initial)
        warn_of_share_outside(inner, whiten_rows(inner, standard_samples(inner, initial.x)), stacklevel=2)

    one_step, static = OneStep(int(n_next)) if n_next > 1 else None, flatten(standard_teacher)[1]
    loss = DistillationLoss(static, int(batch_size), forward < 1, gradient == "path", one_step, penalty_fn)
    objective = DistillationObjective(
        inner, standard_teacher, context, loss, steps=int(steps), forward=float(forward), annealing=annealing,
        key_validation=keys[1], key_batches=keys[2],
    )  # fmt: skip
    options = Options(float(learning_rate), optimizer, clip, ema, trainable, progress, keys[3], started)
    history, best = objective.history, train(inner, objective, options)
    history.best_block = best.block
    fitted = with_common(_in_data_units(finalise_trained(best.flow, trainable), inner_teacher), common)
    try:
        comparison = fidelity(teacher, fitted, key=keys[4], context=context, n=int(n_fidelity))
    except NumericError as error:  # the student is returned nevertheless
        comparison = unknown_fidelity(int(n_fidelity))
        warnings.warn(f"distill: the student could not be compared with its teacher: {error}", stacklevel=2)
    comparison.history = history
    if not math.isnan(comparison.reverse_kl) and (doubts := comparison.doubts(tolerance)):
        warnings.warn(
            f"distill: the student is not faithful: {'; '.join(doubts)}. Use more steps, a wider or deeper student, or "
            "one whose transformers are as flexible as the teacher's.",
            stacklevel=2,
        )
    return fitted, comparison


def _check_n_next(teacher: Any, student: Flow, forward: float, n_next: int) -> None:
    if n_next > 1 and forward == 1:
        raise ValueError(f"n_next: expected 1 with forward=1, which uses no samples of the student, got {n_next}.")
    if n_next > 1 and (reason := one_step_mismatch(teacher, student)):
        raise ValueError(f"n_next: expected 1, got {n_next}: {reason}.")


def _check_penalty(penalty: Any, student: Flow, batch: int, forward: float) -> None:
    if penalty is None:
        return
    if forward == 1:
        raise ValueError("penalty: expected None with forward=1, which uses no samples of the student.")
    shapes = [(batch, *shape) for shape in (student.shape, student.context_shape) if shape is not None]
    value = jax.eval_shape(penalty, *(jax.ShapeDtypeStruct(shape, jnp.result_type(float)) for shape in shapes))
    value_shape = getattr(value, "shape", None)
    if value_shape != ():
        batches = " and ".join(map(str, shapes))
        raise ShapeError(f"penalty: expected one number of a batch {batches}, got shape {value_shape}.")


def _in_training_units(
    penalty: Callable[..., Array], teacher: Any, student: Flow, common: Chain | None
) -> Callable[[Array, Array | None], Array]:
    """The penalty as a function of samples in the units of training."""
    mean, scale = _teachers_units(teacher, student)

    def penalty_fn(x: Array, context: Array | None) -> Array:
        x = jnp.asarray(mean, x.dtype)[None] + jnp.asarray(scale, x.dtype)[None] * x
        if common is not None:
            x = jax.vmap(common.forward)(x)
        return penalty(x) if context is None else penalty(x, context)

    return penalty_fn


def _teachers_units(teacher: Any, student: Flow) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of the teacher's `Standardise`: the units of training; 0 and 1 where one of the two has none."""
    teacher_outer = outer_standardise(teacher) if isinstance(teacher, Flow) else None
    if teacher_outer is None or outer_standardise(student) is None:
        return np.zeros(student.shape), np.ones(student.shape)
    return np.asarray(teacher_outer.mean, np.float64), np.asarray(teacher_outer.scale, np.float64)


def _in_teachers_units(teacher: Any, student: Flow) -> tuple[Any, Flow]:
    """Both flows in the teacher's standardised units, where single precision is enough for any offset of the data.

    The divergences are the same. Where one of the two has no outer `Standardise`, the units stay those of the data.
    """
    outer, teacher_outer = outer_standardise(student), outer_standardise(teacher) if isinstance(teacher, Flow) else None
    if teacher_outer is None or outer is None:
        return teacher, student
    mean, scale = _teachers_units(teacher, student)
    identity = teacher_outer.filled(np.zeros(teacher_outer.shape), np.ones(teacher_outer.shape))
    if bool(outer.is_filled):
        outer = outer.filled((np.asarray(outer.mean) - mean) / scale, np.asarray(outer.scale) / scale)
    return eqx.tree_at(outer_standardise, teacher, identity), eqx.tree_at(outer_standardise, student, outer)


def _in_data_units(student: Flow, teacher: Any) -> Flow:
    """The inverse of `_in_teachers_units`, for the student."""
    outer = outer_standardise(student)
    if outer is None:
        return student
    mean, scale = _teachers_units(teacher, student)
    outer = outer.filled(mean + scale * np.asarray(outer.mean), scale * np.asarray(outer.scale))
    return eqx.tree_at(outer_standardise, student, outer)


def _initial_samples(teacher: Any, student: Flow, context: Any, key: PRNGKeyArray, has_forward: bool) -> Rows | None:
    """Samples of the teacher that initialise the student's layers; None where it needs none."""
    outer = outer_standardise(student)
    if not has_forward and (outer is None or bool(outer.is_filled)):
        return None
    contexts = paired_contexts(teacher, context, _N_INITIAL, key)
    x = samples_of(teacher, contexts, _N_INITIAL, key)
    return Rows(x.astype(np.float64), None if contexts is None else contexts.astype(np.float64), None)
