"""Ensembles: flows of equal structure as one distribution, evaluated by one program."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.core.distribution import AbstractDistribution, map_log_prob
from pushforward.core.mixture import AbstractMixture, checked_parts
from pushforward.core.stacked import map_stacked, stack, unstack
from pushforward.errors import ShapeError
from pushforward.numerics.arrays import on_device
from pushforward.numerics.keys import as_key
from pushforward.numerics.programs import is_traced


class Ensemble(AbstractMixture):
    """Ensemble of n flows of equal structure: the mixture log p(x) = log (1/n) sum_k p_k(x).

    The arrays of the members are stacked along a leading axis. `fit` trains all members in one program, each by its own
    likelihood; it does not train the mixture. `len(e)` is n, `e[k]` member k, `e[[0, 2]]` and `e[1:]` are ensembles of
    these members, and iteration gives all of them.

    Args:
        members: at least one distribution, all of equal structure, such as flows of one recipe with equal options.

    Cost: n evaluations to score. Sampling draws from all n, selects one, and scores it under all n.

    Raises:
        ShapeError: if there is no member, or their structures differ.

    Reference: Lakshminarayanan, Pritzel & Blundell 2017, section 2.4 (ensembles as uniform mixtures).

    Example:
        >>> import pushforward as pf
        >>> flows = pf.Ensemble([pf.nice(dim=2, key=k) for k in range(3)])
        >>> print(len(flows), flows.log_prob([[0.0, 0.0]]), flows.log_probs([[0.0, 0.0]]).shape)
        3 [-1.837877] (3, 1)
    """

    stacked: AbstractDistribution
    n_members: int = eqx.field(static=True)
    stacked_field = "stacked"  # see core/stacked.py

    def __init__(self, members: Sequence[AbstractDistribution]) -> None:
        advice = "Build all with the same options, or combine unlike distributions by pushforward.bases.Mixture."
        members = checked_parts("members", members)
        self.stacked, self.n_members = stack(members, "members", advice), len(members)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stacked.shape

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        return self.stacked.context_shape

    @property
    def parts(self) -> list[Any]:
        return list(self)

    def __len__(self) -> int:
        return self.n_members

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: "slice | Sequence[int] | np.ndarray") -> "Ensemble": ...

    def __getitem__(self, index: Any) -> Any:
        chosen = np.arange(self.n_members)[index]
        if chosen.ndim == 0:
            return unstack(self.stacked, int(chosen))
        return Ensemble([unstack(self.stacked, int(k)) for k in chosen])

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(self.n_members))

    def log_probs(self, x: Any, context: Any = None) -> Array:
        """Log-density of every sample under every member, in nats.

        Args:
            x, context: as for `log_prob`.

        Returns:
            Array (n, ...), the member first.
        """
        log_probs: Any = map_log_prob(self, member_log_probs, x, context)
        return jnp.moveaxis(log_probs, -1, 0) if is_traced(log_probs) else on_device(np.moveaxis(log_probs, -1, 0))

    def disagreement(self, x: Any, context: Any = None) -> Array:
        """How much the members differ at every sample: the standard deviation of log p_k(x) over the members, in nats.

            s(x) = (1 / (n - 1) sum_k (log p_k(x) - mean_j log p_j(x))^2)^(1/2)

        It is small where the data determine the density, and large where they do not, except where the recipe does:
        outside the box of its splines every member of an `nsf` is the identity. It is 0 for one member and where all
        densities are zero, infinite where some are zero and others not.

        Args:
            x, context: as for `log_prob`.

        Returns:
            Array of the broadcast leading axes.
        """
        log_probs: Any = self.log_probs(x, context)
        xp: Any = jnp if is_traced(log_probs) else np
        log_probs = xp.asarray(log_probs)
        is_zero = xp.isneginf(log_probs)
        deviation = xp.std(xp.where(is_zero, 0.0, log_probs), 0, ddof=min(1, self.n_members - 1))
        deviation = xp.where(is_zero.any(0), xp.where(is_zero.all(0), 0.0, xp.inf), deviation)
        return deviation if xp is jnp else on_device(deviation)

    def check_samples(self, name: str, x: np.ndarray | Array) -> None:
        if type(self.stacked).check_samples is not AbstractDistribution.check_samples:
            self[0].check_samples(name, x)

    def log_prob_one(self, x: Array, context: Array | None, key: PRNGKeyArray | None) -> Array:
        return jax.nn.logsumexp(self.log_probs_one(x, context, key)) - np.log(self.n_members)

    def with_parts(self, parts: Sequence[Any]) -> "Ensemble":
        return Ensemble(parts)

    def map_parts(self, function: Callable[[Any, Any], Array], key: PRNGKeyArray | None) -> Array:
        return map_stacked(self.stacked, self.n_members, function, key)

    def draw_index(self, key: PRNGKeyArray) -> Array:
        return jax.random.randint(key, (), 0, self.n_members)


def ensemble(build: Callable[[Any], Any], n: int, key: PRNGKeyArray | int) -> Ensemble:
    """An `Ensemble` of n flows that `build` makes from n different keys: other initial weights, one structure.

    Args:
        build: makes one flow from a JAX key: any recipe, `lambda key: pf.nsf(2, key=key)`.
        n: number of members.
        key: a JAX key or an int; member k gets `jax.random.split(key, n)[k]`.

    Returns:
        An `Ensemble`, for `fit`, `save`, `check` and all other uses of a distribution.

    Raises:
        TypeError: if `build` is not a function, or returns no flow.
        ValueError: if n is not a whole number of at least 1.
        ShapeError: if the members differ in structure.

    Reference: Lakshminarayanan, Pritzel & Blundell 2017, section 2.4.

    Example:
        >>> import pushforward as pf
        >>> flows = pf.ensemble(lambda key: pf.nice(dim=2, key=key), 4, key=0)
        >>> print(flows.disagreement([[0.0, 0.0]]))  # new flows are equal: the standard normal distribution
        [0.]
    """
    if not callable(build):
        raise TypeError(
            "build: expected a function that makes a flow from a key, such as lambda key: pushforward.nsf(2, key=key), "
            f"got {type(build).__name__}."
        )
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n: expected a whole number of members, at least 1, got {n!r}.")
    return Ensemble([build(member_key) for member_key in jax.random.split(as_key(key), n)])


def member_log_probs(flows: Ensemble, x: Array, context: Array | None) -> tuple[Array]:
    """Log-densities (n_samples, n_members) of a batch; at module level, because it is part of the key of programs."""
    axes = (0, None if context is None else 0)
    return (jax.vmap(flows.log_probs_one, axes)(x, context),)


def per_member(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a flow and other arguments that returns a flow, applied to each member of an ensemble.

    An ensemble whose members are returned unchanged is returned unchanged.
    """

    @functools.wraps(function)
    def mapped(flow: Any, *args: Any, **options: Any) -> Any:
        if isinstance(flow, Ensemble):
            members = list(flow)
            results = [function(member, *args, **options) for member in members]
            is_changed = any(new is not old for new, old in zip(results, members, strict=True))
            return Ensemble(results) if is_changed else flow
        return function(flow, *args, **options)

    return mapped


def check_single(function: str, name: str, flow: Any) -> None:
    """Refuse an ensemble where a function trains one flow only."""
    if isinstance(flow, Ensemble):
        raise ShapeError(
            f"{name}: expected one flow, got an Ensemble of {len(flow)}, which {function} does not train. Train its "
            f"members one by one and stack the results: pushforward.Ensemble([... for member in flows])."
        )
