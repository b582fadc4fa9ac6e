"""Importance sampling of an unnormalised target with a flow as the proposal."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow_argument import check_flow_argument
from pushforward.diagnostics.pareto import pareto_k
from pushforward.diagnostics.weights import effective_sample_size, rounding, weight_doubts
from pushforward.errors import NumericError, ShapeError
from pushforward.numerics.keys import as_key

_CHUNK = 4096


@dataclass(frozen=True, repr=False)
class ImportanceSample:
    """Samples of a flow q with the weights w = p / q that turn them into samples of a target p / Z.

    Estimates can be trusted (`can_be_trusted`) under two conditions: at least 100 effective samples, and a Pareto k of
    at most min(1 - 1 / log10 n, 0.7); `doubts` lists the failures. Neither detects a mode of the target that q has not
    sampled: a flow that covers one of two equal modes looks perfect, and its log evidence is log 2 too small.

    Attributes:
        samples: (n, *shape).
        log_weights: (n,) log p(x) - log q(x), not normalised.
        elbo: mean of log_weights, a lower bound of log Z in expectation.
        elbo_error: its standard error.
        log_evidence: log of the mean weight, the estimate of log Z.
        log_evidence_error: its standard error by the delta method, about sqrt(1 / effective_sample_size - 1 / n).
        effective_sample_size: (sum w)^2 / sum w^2, between 1 and n.
        pareto_k: shape of the tail of the weights.
    """

    samples: np.ndarray
    log_weights: np.ndarray
    elbo: float
    elbo_error: float
    log_evidence: float
    log_evidence_error: float
    effective_sample_size: float
    pareto_k: float

    @property
    def weights(self) -> np.ndarray:
        """(n,) weights that add to one."""
        raised = np.exp(self.log_weights - self.log_weights.max())
        return raised / raised.sum()

    @property
    def reverse_kl(self) -> float:
        """KL(q | p) in nats, with Z as estimated: log_evidence - elbo."""
        return self.log_evidence - self.elbo

    @property
    def efficiency(self) -> float:
        """Effective sample size over n: 1 where q is the target."""
        return self.effective_sample_size / len(self.samples)

    @property
    def can_be_trusted(self) -> bool:
        """Whether there are enough effective samples and the tail of the weights is light: no `doubts`."""
        return not self.doubts()

    def doubts(self) -> list[str]:
        """Reasons not to trust the estimates, one phrase each; none if they can be trusted.

        100 effective samples keep the standard error of the log evidence below 0.1. A part of the target that no sample
        has reached is not detected.

        Reference: Owen 2013, section 9.3; Elvira, Martino & Robert 2022; Vehtari et al. 2024, section 3.
        """
        return weight_doubts(len(self.samples), self.effective_sample_size, self.pareto_k)

    def mean(self, function: Callable[[np.ndarray], Any] = lambda x: x) -> np.ndarray:
        """Mean of function(x) under the target, one call for each sample."""
        values = np.stack([np.asarray(function(x)) for x in self.samples])
        return np.tensordot(self.weights, values, axes=1)

    def resample(self, n: int, *, key: PRNGKeyArray | int) -> np.ndarray:
        """(n, *shape) samples drawn by weight, with replacement: approximately from the target."""
        random = np.random.default_rng(np.asarray(jax.random.key_data(as_key(key)), np.uint32))
        return self.samples[random.choice(len(self.samples), n, p=self.weights)]

    def to_dict(self) -> dict[str, Any]:
        """The estimates and `doubts` as plain values, without samples and weights."""
        names = ("elbo", "elbo_error", "log_evidence", "log_evidence_error", "effective_sample_size", "pareto_k")
        names = (*names, "reverse_kl", "efficiency", "can_be_trusted")
        return {"n": len(self.samples)} | {name: getattr(self, name) for name in names} | {"doubts": self.doubts()}

    def __str__(self) -> str:
        doubts = self.doubts()
        return (
            f"log evidence {self.log_evidence:.3f} +- {self.log_evidence_error:.3f}, ELBO {self.elbo:.3f}, effective "
            f"{self.effective_sample_size:.0f} of {len(self.samples)} samples ({self.efficiency:.2%}), Pareto k "
            f"{self.pareto_k:.2f}" + (f"; do not trust the estimates: {'; '.join(doubts)}" if doubts else "")
        )

    def __repr__(self) -> str:
        return f"ImportanceSample({self})"


def importance_sample(
    flow: AbstractDistribution, log_density: Callable[[Array], Array], n: int, *, key: PRNGKeyArray | int
) -> ImportanceSample:
    """Importance sampling: log evidence, effective sample size, and whether to trust them.

    log Z = log mean w, w = p(x) / q(x), x from q; the mean is unbiased for any flow whose support contains that of p.

    Args:
        flow: q, unconditional (`flow.given(context)` for a conditional one).
        log_density: log p of ONE sample of shape `flow.shape`, up to a constant; traceable by JAX. -inf where p is 0.
        n: number of samples, at least 2.
        key: a JAX key or an int.

    Returns:
        An `ImportanceSample`.

    Raises:
        ShapeError: if the flow is conditional, or log_density does not return one number.
        NumericError: if log_density is NaN or +inf at a sample (with their share), or -inf at all; if the flow has no
            finite density at one of its own samples.

    Reference: Owen 2013, chapter 9; Kong 1992 (effective sample size).

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> result = pf.importance_sample(pf.bases.Normal((2,)), lambda x: -jnp.sum(x**2) / 2, 100, key=0)
        >>> print(round(result.log_evidence, 4))  # log 2 pi
        1.8379
    """
    check_flow_argument("flow", flow, "importance_sample(flow, log_density, n)")
    if flow.context_shape is not None:
        raise ShapeError("flow: expected an unconditional distribution. Pass flow.given(context).")
    if isinstance(n, bool) or n != int(n) or n < 2:
        raise ValueError(f"n: expected a number of samples, at least 2, got {n}.")
    check_log_density(log_density, flow.shape)
    samples, log_q = (np.asarray(part) for part in flow.sample_and_log_prob(int(n), key=key))
    if (bad := ~np.isfinite(log_q)).any():
        first = int(bad.argmax())
        raise NumericError(
            f"flow: log-density {log_q[first]} at {_share(bad)} of its own samples, first at "
            f"{samples[first].tolist()}. Locate the layer with pushforward.check."
        )
    log_p = _log_density_batch(log_density, samples)
    if (bad := np.isnan(log_p) | (log_p == np.inf)).any():
        first = int(bad.argmax())
        raise NumericError(
            f"log_density: {log_p[first]} at {_share(bad)} of the flow's samples, first at {samples[first].tolist()}. "
            "Return -inf where the density is zero, and a finite number elsewhere."
        )
    log_weights = log_p - log_q.astype(np.float64)
    highest = log_weights.max()
    if highest == -np.inf:
        raise NumericError(f"log_density: -inf at all {n} samples: flow and target do not overlap. Fit the flow first.")
    raised = np.exp(log_weights - highest)
    mean = raised.mean()
    return ImportanceSample(
        samples=samples,
        log_weights=log_weights,
        elbo=float(log_weights.mean()),
        elbo_error=float(log_weights.std(ddof=1) / math.sqrt(n)) if np.isfinite(log_weights).all() else math.inf,
        log_evidence=float(highest + np.log(mean)),
        log_evidence_error=float(raised.std(ddof=1) / mean / math.sqrt(n)),
        effective_sample_size=effective_sample_size(log_weights),
        pareto_k=pareto_k(log_weights, rounding(log_q)),
    )


def _share(mask: np.ndarray) -> str:
    return f"{int(mask.sum())} of {len(mask)} ({mask.mean():.2%})"


def check_log_density(log_density: Callable[..., Array], *shapes: tuple[int, ...]) -> None:
    """Refuse a target that does not map one sample (and one context) to one number."""
    float_type = jnp.result_type(float)
    try:
        out = jax.eval_shape(log_density, *(jax.ShapeDtypeStruct(shape, float_type) for shape in shapes))
    except (TypeError, IndexError, ValueError) as error:
        raise ShapeError(
            f"log_density: expected a function of one sample of shape {shapes[0]}"
            f"{' and one context of shape ' + str(shapes[1]) if len(shapes) > 1 else ''}, written with jax.numpy; "
            f"got an error when called so: {error}"
        ) from error
    shape = getattr(out, "shape", None)
    if shape != ():
        raise ShapeError(
            f"log_density: expected one number for one sample of shape {shapes[0]}, got "
            f"{'no array' if shape is None else f'shape {shape}'}. Sum over the coordinates; batches are mapped here."
        )
    if jnp.issubdtype(out.dtype, jnp.complexfloating):
        raise ValueError(f"log_density: expected a real number, got {out.dtype}. Use its real part, jnp.real.")


def _log_density_batch(log_density: Callable[[Array], Array], samples: np.ndarray) -> np.ndarray:
    """log_density of samples in float64, in chunks of one size."""
    size = min(_CHUNK, len(samples))
    out = []
    program = _mapped(log_density)
    for start in range(0, len(samples), size):
        chunk = samples[start : start + size]
        padded = np.concatenate([chunk, np.broadcast_to(chunk[-1:], (size - len(chunk), *chunk.shape[1:]))])
        out.append(np.asarray(program(padded), np.float64)[: len(chunk)])
    return np.concatenate(out)


@functools.lru_cache(maxsize=16)
def _mapped(log_density: Callable[[Array], Array]) -> Callable[[Any], Array]:
    """The batched function, cached so that it is compiled once."""
    return jax.jit(jax.vmap(log_density))
