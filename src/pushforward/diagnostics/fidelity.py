"""Fidelity of a student flow to its teacher: divergences in both directions, effective sample size, modes, speed."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow_argument import check_flow_argument
from pushforward.diagnostics.modes import find_modes
from pushforward.diagnostics.pareto import pareto_k
from pushforward.diagnostics.weights import effective_sample_size, rounding, weight_doubts
from pushforward.errors import DataError, ShapeError
from pushforward.numerics.keys import as_key

_MOST_DIMS = 16  # above it, nearest neighbours no longer follow the gradient of the density
_MODE_SAMPLES = 4000
_TIMED = 1000
_SHARE_BOUND = 0.2
_STANDARD_ERRORS = 3.0


@dataclasses.dataclass(frozen=True)
class ModeShare:
    """One mode of the teacher: its location, and the share of each flow's samples in it."""

    location: tuple[float, ...]
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
    """Fidelity of a student to its teacher. Divergences in nats, from `n` samples of either flow.

    Attributes:
        reverse_kl: KL(student | teacher) = E_student[log q - log p]; large where the student puts mass that the
            teacher does not have.
        reverse_kl_error: its standard error.
        forward_kl: KL(teacher | student) = E_teacher[log p - log q]; large where the student lacks a mode.
        forward_kl_error: its standard error.
        efficiency: effective sample size over n of the student's samples, weighted to the teacher: 1 is perfect.
        pareto_k: shape of the tail of these weights.
        modes: the teacher's modes with the share of either flow; empty for conditional flows, for events that are no
            vectors, and above 16 dimensions.
        n: number of samples.
        teacher_sample_seconds, student_sample_seconds: for 1,000 samples, without compilation.
        teacher_score_seconds, student_score_seconds: for 1,000 log-densities, without compilation.
        log_ratios: log q - log p (in nats) at the student's and at the teacher's samples, (n,) each.
        samples: the student's and the teacher's, (n, *shape) each.
        history: of the training, after a distillation.
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
        """The number of the teacher's samples that the student's `n` weighted samples are worth."""
        return self.efficiency * self.n

    def weight_doubts(self) -> list[str]:
        """Reasons not to trust estimates from the student's samples weighted to the teacher, one phrase each.

        As for an `ImportanceSample`: at least 100 effective samples, and a Pareto k of at most min(1 - 1 / log10 n,
        0.7). They do not concern the divergences, which are means without weights; see `doubts`.
        """
        return weight_doubts(self.n, self.effective_sample_size, self.pareto_k)

    def doubts(self, tolerance: float = 0.1) -> list[str]:
        """Failures of the student, one phrase each; none if it is faithful.

        Args:
            tolerance: nats of either divergence that are accepted.
        """
        doubts = []
        for name, value, error, meaning in (
            ("KL(student | teacher)", self.reverse_kl, self.reverse_kl_error, "mass where the teacher has none"),
            ("KL(teacher | student)", self.forward_kl, self.forward_kl_error, "mass of the teacher that it lacks"),
        ):
            # at most the tolerance is allowed for noise: where single samples dominate, the error is as large as the
            # value
            if not value <= tolerance + min(_STANDARD_ERRORS * error, tolerance):
                doubts.append(f"{name} is {_format(value)} nats, above {tolerance:g} ({meaning})")
        for mode in self.modes:
            if not mode.ok:
                shown = [f"{value:.3g}" for value in mode.location[:4]]
                location = ", ".join(shown) + ("..." if len(mode.location) > 4 else "")
                doubts.append(
                    f"the mode at ({location}) has {mode.student:.1%} of the student's samples and "
                    f"{mode.teacher:.1%} of the teacher's"
                )
        return doubts

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON, without samples."""
        left_out = {"log_ratios", "samples", "history", "modes"}
        plain = {name: value for name, value in vars(self).items() if name not in left_out}
        modes = [
            dataclasses.asdict(mode) | {"location": list(mode.location), "off": mode.off, "ok": mode.ok}
            for mode in self.modes
        ]
        plain |= {"effective_sample_size": self.effective_sample_size, "weight_doubts": self.weight_doubts()}
        return plain | {"modes": modes, "history": self.history and self.history.to_dict()}

    def __str__(self) -> str:
        lines = [
            f"KL(student | teacher)   {_format(self.reverse_kl)} +- {_format(self.reverse_kl_error)} nats",
            f"KL(teacher | student)   {_format(self.forward_kl)} +- {_format(self.forward_kl_error)} nats",
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
    """Compare a student with its teacher by samples and exact densities of both.

    Args:
        teacher, student: two distributions of the same shape and context shape.
        key: a JAX key or an int.
        context: (m, *context_shape) for conditional flows: all results are means over the contexts.
        n: samples of either flow, at least 100.

    Cost: n samples and 2n log-densities of each flow.

    Raises:
        ShapeError: if the flows differ in shape or context shape.
        DataError: if a context is missing, or passed to unconditional flows.

    Reference: effective sample size: Kong 1992; the tail of the weights: Vehtari et al. 2024.

    Example:
        >>> import pushforward as pf
        >>> from pushforward.diagnostics import fidelity
        >>> result = fidelity(pf.bases.Normal((2,)), pf.bases.Normal((2,)), key=0, n=500)
        >>> print(f"{abs(result.reverse_kl):.4f}, {result.efficiency:.4f}, modes: {len(result.modes)}")
        0.0000, 1.0000, modes: 1
    """
    check_pair("fidelity", teacher, student)
    check_sample_size("n", n)
    n = int(n)
    key_student, key_teacher, key_contexts = jax.random.split(as_key(key), 3)
    contexts = paired_contexts(teacher, context, n, key_contexts)
    count: Any = n if contexts is None else ()
    x, log_q = (np.asarray(part) for part in student.sample_and_log_prob(count, key=key_student, context=contexts))
    y, log_p = (np.asarray(part) for part in teacher.sample_and_log_prob(count, key=key_teacher, context=contexts))
    log_ratios_x = np.asarray(log_q, np.float64) - np.asarray(teacher.log_prob(x, contexts), np.float64)
    log_ratios_y = np.asarray(student.log_prob(y, contexts), np.float64) - np.asarray(log_p, np.float64)
    timed = (y[:_TIMED], None if contexts is None else contexts[:_TIMED])
    return Fidelity(
        reverse_kl=float(log_ratios_x.mean()),
        reverse_kl_error=_error(log_ratios_x),
        forward_kl=float(0.0 - log_ratios_y.mean()),  # not -0
        forward_kl_error=_error(log_ratios_y),
        efficiency=effective_sample_size(-log_ratios_x) / n,
        pareto_k=pareto_k(-log_ratios_x, rounding(np.asarray(log_q))),
        modes=_mode_shares(y, log_p, x, contexts),
        n=n,
        teacher_sample_seconds=_seconds(lambda: _sample(teacher, contexts)),
        student_sample_seconds=_seconds(lambda: _sample(student, contexts)),
        teacher_score_seconds=_seconds(lambda: teacher.log_prob(*timed)),
        student_score_seconds=_seconds(lambda: student.log_prob(*timed)),
        log_ratios=(log_ratios_x, log_ratios_y),
        samples=(x, y),
    )


def unknown_fidelity(n: int) -> Fidelity:
    """A `Fidelity` of NaN, for flows that cannot be compared. `doubts` reports it."""
    nan, none = math.nan, np.empty((0,))
    return Fidelity(nan, nan, nan, nan, nan, nan, (), n, nan, nan, nan, nan, (none, none), (none, none))


def check_sample_size(name: str, n: int) -> None:
    """Refuse fewer samples than estimates of divergences, modes and weights need."""
    if isinstance(n, bool) or n != int(n) or n < 100:
        raise ValueError(f"{name}: expected a number of samples, at least 100, got {n}.")


def check_pair(function: str, teacher: AbstractDistribution, student: AbstractDistribution) -> None:
    """Refuse what is no flow, and a student of another shape or context shape than its teacher's."""
    for name, value in (("teacher", teacher), ("student", student)):
        check_flow_argument(name, value, f"{function}(teacher, student)")
    for name in ("shape", "context_shape"):
        expected, got = getattr(teacher, name), getattr(student, name)
        if expected != got:
            raise ShapeError(
                f"student: expected {name} {expected} as the teacher has, got {got}. Build the student for the same "
                "events and the same context."
            )


def paired_contexts(flow: AbstractDistribution, context: Any, n: int, key: PRNGKeyArray) -> np.ndarray | None:
    """n contexts in random order, the caller's repeated as often as needed; None for unconditional flows."""
    if flow.context_shape is None:
        if context is not None:
            raise DataError("expected none (the flows are unconditional), got one.", "context")
        return None
    if context is None:
        raise DataError(f"expected rows of shape {flow.context_shape}, got none.", "context")
    contexts = np.asarray(context)
    if contexts.shape[1:] != flow.context_shape or len(contexts) == 0:
        expected = ", ".join(map(str, ("n", *flow.context_shape)))
        raise ShapeError(f"context: expected shape ({expected}) with n >= 1, got {contexts.shape}.")
    random = np.random.default_rng(np.asarray(jax.random.key_data(key), np.uint32))
    order = np.concatenate([random.permutation(len(contexts)) for _ in range(-(-n // len(contexts)))])
    return contexts[order[:n]]


def _mode_shares(
    teacher_samples: np.ndarray, log_p: np.ndarray, student_samples: np.ndarray, contexts: np.ndarray | None
) -> tuple[ModeShare, ...]:
    if contexts is not None or teacher_samples.ndim != 2 or teacher_samples.shape[1] > _MOST_DIMS:
        return ()
    modes = find_modes(teacher_samples[:_MODE_SAMPLES], log_p[:_MODE_SAMPLES])
    teacher, student = modes.shares_of(teacher_samples), modes.shares_of(student_samples)
    n = len(teacher_samples)
    return tuple(
        ModeShare(tuple(location.tolist()), float(p), float(q), math.sqrt((p * (1 - p) + q * (1 - q)) / n))
        for location, p, q in zip(modes.locations, teacher, student, strict=True)
    )


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if np.isfinite(values).all() else math.inf


def _sample(flow: AbstractDistribution, contexts: np.ndarray | None) -> Any:
    if contexts is None:
        return flow.sample(_TIMED, key=0)
    return flow.sample((), key=0, context=np.resize(contexts, (_TIMED, *contexts.shape[1:])))


def _seconds(call: Callable[[], Any]) -> float:
    jax.block_until_ready(call())
    times = []
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _format(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1e4 else f"{value:.3g}"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f} ms"
