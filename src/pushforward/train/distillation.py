"""Density distillation: a student flow learns the density of a teacher flow."""

import functools
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
from pushforward.core.distribution import AbstractDistribution, as_key
from pushforward.core.fields import trainable as trainable_filter
from pushforward.core.flow import Flow
from pushforward.core.state import finalise
from pushforward.diagnostics.fidelity import (
    Fidelity,
    check_pair,
    check_sample_size,
    fidelity,
    paired_contexts,
    unknown_fidelity,
)
from pushforward.errors import NumericError, ShapeError, TrainingDiverged
from pushforward.numerics.programs import flatten, float_type
from pushforward.train.checks import check_options, check_precision, trained_flags
from pushforward.train.common_layers import adopted, with_common, without_common
from pushforward.train.data import Rows, share_outside
from pushforward.train.distillation_steps import Lesson, Shares, run_distillation_steps
from pushforward.train.divergences import DistillationHistory, HeldOut
from pushforward.train.one_step import OneStep, one_step_fault
from pushforward.train.progress import progress_bar
from pushforward.train.recovery import Recovery
from pushforward.train.steps import Course, Plan, begin, clipped, cosine, default_optimizer, is_sound, taken
from pushforward.train.units import initialised, outer_standardise, whitened

_BLOCKS = 50
_ADVICE = "Use a smaller learning_rate, or a smaller clip, or see where the teacher's log-density is not finite."
_POOL = 10_000  # samples of the teacher whose moments the student starts from


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
    trainable: PyTree[bool] | None = None,
    progress: bool = True,
) -> tuple[Flow, Fidelity]:
    """Minimise a mean of KL(student | teacher) and KL(teacher | student), both with exact densities.

        (1 - f) E_{x ~ q}[log q(x) - log p(x)] - f E_{x ~ p}[log q(x)],   q student, p teacher

    The reverse divergence, on the student's own samples, forgives a student that drops a mode; the forward one, on
    fresh samples of the teacher, does not. The share f of the forward one starts at 1 and falls to `forward`. Training
    happens in the teacher's standardised units, and without the outer layers that both flows have in common; where the
    student's own outer layers are not filled yet, they take what the teacher's hold, or the moments of its samples. The
    student with the smallest held-out loss is returned, and compared with its teacher; where it is unfaithful, a
    warning says how.

    Args:
        teacher: any distribution that scores and, where `forward` or `annealing` is above 0, draws.
        student: a flow of the same shape and context shape; distilling twice continues.
        key: a JAX key or an int.
        context: (n, *context_shape) for conditional flows; each step draws a batch of its rows.
        steps: number of gradient steps.
        batch_size: samples of either flow a step.
        learning_rate: peak of the cosine schedule of the default optimiser (Adam).
        optimizer: any optax optimiser in the place of Adam and the schedule; its learning rate is its own. One that
            asks for `value` gets the loss of the step: the mean above on its samples, where the teacher's entropy, a
            constant, is left out (with `n_next` the student's base's too), and the penalty. One that searches along the
            loss (L-BFGS with a line search) needs gradient="total" or forward=1; `clip=None` suits it.
        clip: bound on the global norm of the gradient, or None.
        ema: decay of an exponential moving average of the weights, which is returned, or None for the weights as is.
        forward: the share f at the end, from 0 (the published recipe) to 1 (likelihood on the teacher's samples).
        annealing: share of the steps over which f falls from 1 to `forward`; 0 for none.
        gradient: of the reverse divergence: "path" (scores each sample once more, by the inverse direction; the noise
            vanishes as the student approaches its teacher), or "total", cheaper where that direction is slow.
        n_next: draws of each next coordinate for one of its past (see `pushforward.train.one_step`), for an `iaf` of
            one order taught by one autoregressive layer of that order; with 2 or more, the student's entropy is exact
            and `gradient` is not used. 1: whole samples.
        penalty: a function of a batch (batch_size, *shape) of the student's samples, in the data's units, and for
            conditional flows of their contexts, to one number that is added to the loss: of spectra, for instance. JAX
            must be able to trace it.
        n_fidelity: samples of either flow for the comparison at the end, at least 100.
        tolerance: nats of either divergence above which a warning is given.
        trainable: a tree of bools like `pushforward.trainable(flow)`, to freeze parts.
        progress: show the course (a bar with rich, else a line).

    Returns:
        The student and a `Fidelity`: divergences both ways with standard errors, effective sample size, shares of the
        teacher's modes, times of both; its `history` is the course. Where a density is no number at samples, so that
        the two cannot be compared, its figures are NaN, and a warning says why. Ctrl-C returns the best weights so far.

    A step whose loss or gradient is not finite is skipped and counted; where 25 fail in a row, training goes back to
    before they did, with half the learning rate from there on, at most five times.

    Cost: a step draws and differentiates `batch_size` samples of the student, scores them under the teacher (with
    "path" under the student too), and scores as many samples of the teacher under the student.

    Raises:
        ShapeError, DataError: if the flows or the context do not fit.
        ValueError: if an option is out of range, `n_next` does not fit the flows, an array of either has 16 bits, or
            `optimizer` does not fit the loss.
        TrainingDiverged: if steps fail again and again.

    Reference: van den Oord et al. 2018 (Parallel WaveNet), section 4; path derivative: Roeder, Wu & Duvenaud 2017. The
    forward divergence and its annealing are ours.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> teacher = pf.bases.MultivariateNormal(2, covariance=np.array([[2.0, 1.0], [1.0, 2.0]]))
        >>> student, found = pf.distill(
        ...     teacher, pf.linear_flow(dim=2, key=0), key=0, steps=400, n_fidelity=2000, progress=False
        ... )
        >>> print(found.reverse_kl < 0.01)
        True
    """
    started = time.perf_counter()
    check_options(
        {"steps": steps, "batch_size": batch_size, "n_next": n_next},
        {"learning_rate": learning_rate, "clip": clip, "tolerance": tolerance},
        ema,
    )
    check_pair(teacher, student)
    if not isinstance(student, Flow):
        raise TypeError(
            f"student: expected a Flow, got {type(student).__name__}. Of whole numbers distil the flow inside "
            "(Dequantised.flow)."
        )
    check_precision("teacher", teacher)
    check_precision("student", student)
    check_sample_size("n_fidelity", n_fidelity)
    bare_teacher, bare, common = teacher, adopted(teacher, student), None
    if trainable is None:  # a tree of the caller's is of the whole student
        bare_teacher, bare, common = without_common(teacher, bare)
    _check_loss(bare_teacher, bare, forward, annealing, gradient, n_next)
    _check_penalty(penalty, student, int(batch_size), forward)
    keys = jax.random.split(as_key(key), 5)
    taught = forward > 0 or annealing > 0
    teacher_there, inner = _in_teachers_units(bare_teacher, bare)
    pool = _pool(teacher_there, inner, context, keys[0], taught)
    if pool is not None:
        inner = initialised(inner, pool)
        share_outside(inner, whitened(inner, _inside(inner, pool.x)))

    flags = trained_flags(inner, trainable_filter(inner) if trainable is None else trainable)
    given: Any = optimizer
    update = default_optimizer(clip) if optimizer is None else clipped(given, clip)
    merge, course = begin(inner, flags, update, flat=optimizer is None, averaged=bool(ema))
    arrays, static = flatten(teacher_there)
    one_step = OneStep(int(n_next)) if n_next > 1 else None
    there = None if penalty is None else _penalty_there(penalty, bare_teacher, bare, common)
    lesson = Lesson(static, int(batch_size), forward < 1, gradient == "path", one_step, there)
    plan = Plan(0, float(steps), float(learning_rate), float(ema or 0.0))
    shares = Shares(1.0 if annealing > 0 else float(forward), float(forward), float(annealing * steps))
    dtype = float_type(flatten(inner)[0])
    held = HeldOut(teacher_there, context, keys[1], taught, forward, there, int(batch_size))

    recovery = Recovery(float(learning_rate), adjustable=optimizer is None, advice=_ADVICE)
    history, best = DistillationHistory(), inner
    best_value = held.value(inner)
    n_blocks = min(_BLOCKS, steps)
    ends = [round(steps * (block + 1) / n_blocks) for block in range(n_blocks)]
    size = max(end - first for first, end in zip([0, *ends], ends, strict=False))

    def run(first: int, end: int, rows: Any, course: Course, rate: float) -> tuple[Course, float]:
        now, here = plan._replace(first_step=first, learning_rate=rate), jax.random.fold_in(keys[3], first)
        return run_distillation_steps(
            merge, update, optimizer is None, bool(ema), lesson, course, arrays, rows, end - first, now, shares, here
        ), 0.0  # no sum: students are compared on the same random numbers instead

    with progress_bar(progress, n_blocks, lambda _: _sentence(history), first="compiling") as report:
        first = 0
        try:
            for block, end in enumerate(ends):
                key_rows = jax.random.fold_in(keys[2], first)
                rows = _lesson_rows(teacher_there, context, (size, int(batch_size)), key_rows, taught, dtype)
                steps_here = functools.partial(run, first, end, rows)
                course, _, _ = recovery.run(steps_here, course, end - first, f"within steps {first} to {end}")
                history.skipped_steps, history.restarts = int(course.skipped), recovery.restarts
                plan = plan._replace(learning_rate=recovery.learning_rate)
                now = taken(merge, course, inner, bool(ema))  # a copy: an interrupted step has used up the course
                value = held.value(now)
                history.reverse_kl.append(held.reverse)
                history.forward_kl.append(held.forward)
                history.seconds.append(time.perf_counter() - started)
                history.learning_rate.append(float(cosine(plan, end, np)) if optimizer is None else math.nan)
                if value < best_value or (is_sound(course) and not math.isfinite(best_value)):
                    best, best_value, history.best_block = now, value, block
                first = end
                report(block)
        except KeyboardInterrupt:
            history.stop_reason = "interrupted"
    if history.stop_reason != "interrupted" and history.skipped_steps >= steps:
        raise TrainingDiverged(
            f"training diverged at learning rate {learning_rate:g}: none of {steps} steps had a finite loss and "
            f"gradient. {_ADVICE}"
        )
    fitted = with_common(_in_data_units(finalise(best), bare_teacher), common)
    try:
        found = fidelity(teacher, fitted, key=keys[4], context=context, n=int(n_fidelity))
    except NumericError as error:  # the student is not lost for it
        found = unknown_fidelity(int(n_fidelity))
        warnings.warn(f"distill: the student could not be compared with its teacher: {error}", stacklevel=2)
    found.history = history
    if not math.isnan(found.reverse_kl) and (doubts := found.doubts(tolerance)):
        warnings.warn(
            f"distill: the student is not faithful: {'; '.join(doubts)}. Use more steps, a wider or deeper student, or "
            "one whose law is as flexible as the teacher's.",
            stacklevel=2,
        )
    return fitted, found


def _check_loss(teacher: Any, student: Any, forward: float, annealing: float, gradient: str, n_next: int) -> None:
    for name, share in {"forward": forward, "annealing": annealing}.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name}: expected a share from 0 to 1, got {share}.")
    if gradient not in ("path", "total"):
        raise ValueError(f"gradient: expected 'path' or 'total', got {gradient!r}.")
    if n_next > 1 and forward == 1:
        raise ValueError(f"n_next: expected 1 with forward=1, which takes no samples of the student, got {n_next}.")
    if n_next > 1 and (fault := one_step_fault(teacher, student)):
        raise ValueError(f"n_next: expected 1, got {n_next}: {fault}.")


def _check_penalty(penalty: Any, student: Flow, batch: int, forward: float) -> None:
    if penalty is None:
        return
    if forward == 1:
        raise ValueError("penalty: expected None with forward=1, which takes no samples of the student.")
    shapes = [(batch, *shape) for shape in (student.shape, student.context_shape) if shape is not None]
    got = jax.eval_shape(penalty, *(jax.ShapeDtypeStruct(shape, jnp.result_type(float)) for shape in shapes))
    if getattr(got, "shape", None) != ():
        given = " and ".join(map(str, shapes))
        raise ShapeError(f"penalty: expected one number of a batch {given}, got shape {getattr(got, 'shape', None)}.")


def _penalty_there(
    penalty: Callable[..., Array], teacher: Any, student: Flow, common: Chain | None
) -> Callable[[Array, Array | None], Array]:
    """The penalty of samples in the units of training."""
    mean, scale = _units(teacher, student)

    def there(x: Array, context: Array | None) -> Array:
        x = jnp.asarray(mean, x.dtype)[None] + jnp.asarray(scale, x.dtype)[None] * x
        if common is not None:
            x = jax.vmap(common.forward)(x)
        return penalty(x) if context is None else penalty(x, context)

    return there


def _units(teacher: Any, student: Flow) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of the data's units in those of training, which are the teacher's."""
    theirs, ours = outer_standardise(teacher) if isinstance(teacher, Flow) else None, outer_standardise(student)
    if theirs is None or ours is None:
        return np.zeros(student.shape), np.ones(student.shape)
    return np.asarray(theirs.mean, np.float64), np.asarray(theirs.scale, np.float64)


def _in_teachers_units(teacher: Any, student: Flow) -> tuple[Any, Flow]:
    """Both flows in the units to which the teacher standardises: there single precision serves whatever the offset.

    The divergences are the same. Where one of the two has no `Standardise` outside, the units stay those of the data.
    """
    theirs, ours = outer_standardise(teacher) if isinstance(teacher, Flow) else None, outer_standardise(student)
    if theirs is None or ours is None:
        return teacher, student
    mean, scale = _units(teacher, student)
    plain = eqx.tree_at(outer_standardise, teacher, theirs.filled(np.zeros(theirs.shape), np.ones(theirs.shape)))
    if bool(ours.is_filled):
        ours = ours.filled((np.asarray(ours.mean) - mean) / scale, np.asarray(ours.scale) / scale)
    return plain, eqx.tree_at(outer_standardise, student, ours)


def _in_data_units(student: Flow, teacher: Any) -> Flow:
    """The way back."""
    ours = outer_standardise(student)
    if ours is None:
        return student
    mean, scale = _units(teacher, student)
    moved = ours.filled(mean + scale * np.asarray(ours.mean), scale * np.asarray(ours.scale))
    return eqx.tree_at(outer_standardise, student, moved)


def _pool(teacher: Any, student: Flow, context: Any, key: PRNGKeyArray, taught: bool) -> Rows | None:
    """Samples of the teacher that the student's layers start from; None where it starts without data."""
    outer = outer_standardise(student)
    if not taught and (outer is None or bool(outer.is_filled)):
        return None
    rows = paired_contexts(teacher, context, _POOL, key)
    x = _drawn(teacher, rows, _POOL, key)
    return Rows(x.astype(np.float64), None if rows is None else rows.astype(np.float64), None)


def _inside(student: Flow, x: np.ndarray) -> np.ndarray:
    """Rows on the inner side of the student's standardisation."""
    outer = outer_standardise(student)
    return x if outer is None else (x - np.asarray(outer.mean)) / np.asarray(outer.scale)


def _drawn(teacher: Any, rows: np.ndarray | None, n: int, key: PRNGKeyArray) -> np.ndarray:
    return np.asarray(teacher.sample(n if rows is None else (), key=key, context=rows))


def _lesson_rows(
    teacher: Any, context: Any, shape: tuple[int, int], key: PRNGKeyArray, taught: bool, dtype: np.dtype
) -> tuple[Array | None, Array | None]:
    """Fresh samples of the teacher and the contexts of a block of steps, batch by batch."""
    n = shape[0] * shape[1]
    rows = paired_contexts(teacher, context, n, key)
    x = _drawn(teacher, rows, n, key) if taught else None

    def batched(part: np.ndarray | None) -> Array | None:
        return None if part is None else jnp.asarray(part.reshape(*shape, *part.shape[1:]), dtype)

    return batched(x), batched(rows)


def _sentence(history: DistillationHistory) -> str:
    forward = history.forward_kl[-1]
    other = "" if math.isnan(forward) else f", KL(teacher | student) {forward:.3f}"
    return f"KL(student | teacher) {history.reverse_kl[-1]:.3f}{other}"
