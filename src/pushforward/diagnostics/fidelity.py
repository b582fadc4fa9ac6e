"""How faithful one flow is to another: divergences both ways, effective sample size, modes, speed."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.core.distribution import AbstractDistribution, as_key
from pushforward.diagnostics.modes import find_modes
from pushforward.diagnostics.pareto import pareto_k
from pushforward.diagnostics.weights import effective_sample_size, rounding, weight_doubts
from pushforward.errors import DataError, ShapeError

_MOST_DIMS = 16  # above it the neighbours of a sample no longer tell which way the density rises
_MODE_SAMPLES = 4000
_TIMED = 1000
_SHARE_BOUND = 0.2
_STANDARD_ERRORS = 3.0


@dataclasses.dataclass(frozen=True)
class ModeShare:
    """One mode of the teacher: where it is, and which share of each flow's samples falls into it."""

    place: tuple[float, ...]
    teacher: float
    student: float
    error: float

    @property
    def off(self) -> float:
        """Relative error of the student's share."""
        return self.student / self.teacher - 1

    @property
    def ok(self) -> bool:
        """Within 20 % of the teacher's share, or within three standard errors of that."""
        return abs(self.student - self.teacher) <= _SHARE_BOUND * self.teacher + _STANDARD_ERRORS * self.error


@dataclasses.dataclass
class Fidelity:
    """What a student keeps of its teacher. Divergences in nats, from `n` samples of either flow.

    Attributes:
        reverse_kl: KL(student | teacher) = E_student[log q - log p]; large where the student puts mass that the
            teacher does not have.
        reverse_kl_error: its standard error.
        forward_kl: KL(teacher | student) = E_teacher[log p - log q]; large where the student lacks a mode.
        forward_kl_error: its standard error.
        efficiency: effective sample size of the student's samples, weighed to be the teacher's, over n: 1 is perfect.
        pareto_k: shape of the tail of these weights.
        modes: the teacher's modes with the share of either flow; empty where they were not sought (conditional flows,
            events that are no vectors or longer than 16).
        n: number of samples.
        teacher_sample_seconds, student_sample_seconds: for 1,000 samples, compilation aside.
        teacher_score_seconds, student_score_seconds: for the log-densities of 1,000 rows.
        log_ratios: log q - log p (in nats) at the student's and at the teacher's samples, (n,) each.
        samples: the student's and the teacher's, (n, *shape) each.
        history: the course of the distillation, where there was one.
    """

    reverse_kl: float
    reverse_kl_error: float
    forward_kl: float
    forward_kl_error: float
    efficiency: float
    pareto_k: float
    modes: tuple[ModeShare, ...]
    n: int
    teacher_sample_seconds: float
    student_sample_seconds: float
    teacher_score_seconds: float
    student_score_seconds: float
    log_ratios: tuple[np.ndarray, np.ndarray] = dataclasses.field(repr=False)
    samples: tuple[np.ndarray, np.ndarray] = dataclasses.field(repr=False)
    history: Any = dataclasses.field(default=None, repr=False)

    @property
    def effective_sample_size(self) -> float:
        """How many samples of the teacher the student's `n` samples are worth once weighed."""
        return self.efficiency * self.n

    def weight_doubts(self) -> list[str]:
        """Why estimates from the student's samples, weighed to be the teacher's, cannot be trusted, a sentence each.

        As for an `ImportanceSample`: at least 100 effective samples, and a Pareto k of at most min(1 - 1 / log10 n,
        0.7). They say nothing against the student itself, whose divergences are means without weights; see `doubts`.
        """
        return weight_doubts(self.n, self.effective_sample_size, self.pareto_k)

    def doubts(self, tolerance: float = 0.1) -> list[str]:
        """What speaks against the student, a sentence each; none where it is faithful.

        Args:
            tolerance: nats of either divergence that are accepted.
        """
        found = []
        for name, value, error, meaning in (
            ("KL(student | teacher)", self.reverse_kl, self.reverse_kl_error, "mass where the teacher has none"),
            ("KL(teacher | student)", self.forward_kl, self.forward_kl_error, "mass of the teacher that it lacks"),
        ):
            # no more than the tolerance again is forgiven as noise: where single samples decide a figure, its error is
            # as large as the figure
            if not value <= tolerance + min(_STANDARD_ERRORS * error, tolerance):
                found.append(f"{name} is {_nats(value)} nats, above {tolerance:g} ({meaning})")
        for mode in self.modes:
            if not mode.ok:
                place = ", ".join(f"{value:.3g}" for value in mode.place[:4]) + ("..." if len(mode.place) > 4 else "")
                found.append(
                    f"the mode at ({place}) has {mode.student:.1%} of the student's samples and {mode.teacher:.1%} of "
                    "the teacher's"
                )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values, without samples."""
        left_out = {"log_ratios", "samples", "history", "modes"}
        plain = {name: value for name, value in vars(self).items() if name not in left_out}
        modes = [
            dataclasses.asdict(mode) | {"place": list(mode.place), "off": mode.off, "ok": mode.ok}
            for mode in self.modes
        ]
        plain |= {"effective_sample_size": self.effective_sample_size, "weight_doubts": self.weight_doubts()}
        return plain | {"modes": modes, "history": self.history and self.history.to_dict()}

    def __str__(self) -> str:
        lines = [
            f"KL(student | teacher)   {_nats(self.reverse_kl)} +- {_nats(self.reverse_kl_error)} nats",
            f"KL(teacher | student)   {_nats(self.forward_kl)} +- {_nats(self.forward_kl_error)} nats",
            f"effective samples       {self.efficiency:.1%} of {self.n:,} (Pareto k {self.pareto_k:.2f})",
            *(f"weights not trusted     {doubt}" for doubt in self.weight_doubts()),
            *(
                f"mode {index}                  {mode.student:.1%} of the student's samples, {mode.teacher:.1%} of the "
                f"teacher's ({mode.off:+.0%})"
                for index, mode in enumerate(self.modes, 1)
            ),
            f"1,000 samples           teacher {_ms(self.teacher_sample_seconds)}, student "
            f"{_ms(self.student_sample_seconds)}",
            f"1,000 scores            teacher {_ms(self.teacher_score_seconds)}, student "
            f"{_ms(self.student_score_seconds)}",
        ]
        return "\n".join(lines)


def fidelity(
    teacher: AbstractDistribution,
    student: AbstractDistribution,
    *,
    key: PRNGKeyArray | int,
    context: Any = None,
    n: int = 10_000,
) -> Fidelity:
    """Compare a student with its teacher, by samples and exact densities of both.

    Args:
        teacher, student: two distributions of the same shape and context shape.
        key: a JAX key or an int.
        context: (m, *context_shape) for conditional flows: every figure is a mean over its rows.
        n: samples of either flow, at least 100.

    Cost: n samples and 2n scores of each flow.

    Raises:
        ShapeError: if the flows differ in shape or context shape.
        DataError: if a context is missing or not wanted.

    Reference: effective sample size: Kong 1992; the tail of the weights: Vehtari et al. 2024.

    Example:
        >>> import pushforward as pf
        >>> from pushforward.diagnostics import fidelity
        >>> found = fidelity(pf.bases.Normal((2,)), pf.bases.Normal((2,)), key=0, n=500)
        >>> print(f"{abs(found.reverse_kl):.4f}, {found.efficiency:.4f}, modes: {len(found.modes)}")
        0.0000, 1.0000, modes: 1
    """
    check_pair(teacher, student)
    check_sample_size("n", n)
    n = int(n)
    key_student, key_teacher, key_rows = jax.random.split(as_key(key), 3)
    rows = paired_contexts(teacher, context, n, key_rows)
    count: Any = n if rows is None else ()
    drawn, log_q = (np.asarray(part) for part in student.sample_and_log_prob(count, key=key_student, context=rows))
    real, log_p = (np.asarray(part) for part in teacher.sample_and_log_prob(count, key=key_teacher, context=rows))
    ours = np.asarray(log_q, np.float64) - np.asarray(teacher.log_prob(drawn, rows), np.float64)
    theirs = np.asarray(student.log_prob(real, rows), np.float64) - np.asarray(log_p, np.float64)
    scored = (real[:_TIMED], None if rows is None else rows[:_TIMED])
    return Fidelity(
        reverse_kl=float(ours.mean()),
        reverse_kl_error=_error(ours),
        forward_kl=float(0.0 - theirs.mean()),  # not -0
        forward_kl_error=_error(theirs),
        efficiency=effective_sample_size(-ours) / n,
        pareto_k=pareto_k(-ours, rounding(np.asarray(log_q))),
        modes=_mode_shares(real, log_p, drawn, rows),
        n=n,
        teacher_sample_seconds=_seconds(lambda: _draw(teacher, rows)),
        student_sample_seconds=_seconds(lambda: _draw(student, rows)),
        teacher_score_seconds=_seconds(lambda: teacher.log_prob(*scored)),
        student_score_seconds=_seconds(lambda: student.log_prob(*scored)),
        log_ratios=(ours, theirs),
        samples=(drawn, real),
    )


def unknown_fidelity(n: int) -> Fidelity:
    """Where flows cannot be compared: every figure is NaN, which `doubts` names."""
    nan, none = math.nan, np.empty((0,))
    return Fidelity(nan, nan, nan, nan, nan, nan, (), n, nan, nan, nan, nan, (none, none), (none, none))


def check_sample_size(name: str, n: int) -> None:
    """Refuse fewer samples than divergences, modes and weights can be told from."""
    if isinstance(n, bool) or n != int(n) or n < 100:
        raise ValueError(f"{name}: expected a number of samples, at least 100, got {n}.")


def check_pair(teacher: AbstractDistribution, student: AbstractDistribution) -> None:
    """Refuse a student of another shape or context shape than its teacher's."""
    for name in ("shape", "context_shape"):
        wanted, got = getattr(teacher, name), getattr(student, name)
        if wanted != got:
            raise ShapeError(
                f"student: expected {name} {wanted} as the teacher has, got {got}. Build the student for the same "
                "events and the same context."
            )


def paired_contexts(flow: AbstractDistribution, context: Any, n: int, key: PRNGKeyArray) -> np.ndarray | None:
    """n rows drawn from the caller's contexts (all of them where n is a multiple), or None for unconditional flows."""
    if flow.context_shape is None:
        if context is not None:
            raise DataError("context: expected none (the flows are unconditional), got one.")
        return None
    if context is None:
        raise DataError(f"context: expected rows of shape {flow.context_shape}, got none.")
    given = np.asarray(context)
    if given.shape[1:] != flow.context_shape or len(given) == 0:
        wanted = ", ".join(map(str, ("n", *flow.context_shape)))
        raise ShapeError(f"context: expected shape ({wanted}) with n >= 1, got {given.shape}.")
    random = np.random.default_rng(np.asarray(jax.random.key_data(key), np.uint32))
    order = np.concatenate([random.permutation(len(given)) for _ in range(-(-n // len(given)))])
    return given[order[:n]]


def _mode_shares(
    real: np.ndarray, log_p: np.ndarray, drawn: np.ndarray, rows: np.ndarray | None
) -> tuple[ModeShare, ...]:
    if rows is not None or real.ndim != 2 or real.shape[1] > _MOST_DIMS:
        return ()
    found = find_modes(real[:_MODE_SAMPLES], log_p[:_MODE_SAMPLES])
    teacher, student = found.shares_of(real), found.shares_of(drawn)
    n = len(real)
    return tuple(
        ModeShare(
            tuple(place.tolist()), float(p), float(q), math.sqrt((p * (1 - p) + q * (1 - q)) / n)
        )
        for place, p, q in zip(found.places, teacher, student, strict=True)
    )  # fmt: skip


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if np.isfinite(values).all() else math.inf


def _draw(flow: AbstractDistribution, rows: np.ndarray | None) -> Any:
    if rows is None:
        return flow.sample(_TIMED, key=0)
    return flow.sample((), key=0, context=np.resize(rows, (_TIMED, *rows.shape[1:])))


def _seconds(call: Callable[[], Any]) -> float:
    jax.block_until_ready(call())
    times = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def _nats(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1e4 else f"{value:.3g}"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f} ms"
