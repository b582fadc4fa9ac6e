"""Bijections made of bijections: in sequence, repeated, turned round, made conditional; and the standardising layer."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from pushforward.bijection import AbstractBijection, merge_context_shapes
from pushforward.errors import ShapeError
from pushforward.fields import fixed, trainable
from pushforward.moments import CONTEXT_TAILS, EVENT_TAILS, FAR, compressed, expanded, moments, reach_of


class Chain(AbstractBijection):
    """Bijections in sequence: `Chain([a, b])` applies a first, then b, from base to data.

    T = T_n o ... o T_1, and log|det| is the sum of theirs. The inverse runs the list backwards.

    Args:
        bijections: at least one bijection, all of one shape and of one context shape (unconditional ones aside).

    Cost: the sum of the parts, in both directions.

    Raises:
        ShapeError: if the list is empty or the shapes differ.

    Reference: Rezende & Mohamed 2015, equation 7.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Affine, Chain, Exp
        >>> x, log_det = Chain([Affine(shift=1.0), Exp()]).forward_and_log_det(jnp.array(-1.0))
        >>> print(x, log_det)
        1.0 0.0
    """

    bijections: tuple[AbstractBijection, ...]
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, bijections: Sequence[AbstractBijection]) -> None:
        self.bijections = tuple(bijections)
        shapes = {b.shape for b in self.bijections}
        if len(shapes) != 1:
            raise ShapeError(
                f"bijections: expected at least one bijection, all of one shape, got shapes "
                f"{[b.shape for b in self.bijections]}. Wrap with Reshape, Squeeze or Split where a view is meant."
            )
        self.shape, self.context_shape = shapes.pop(), merge_context_shapes(self.bijections)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        total = jnp.zeros((), z.dtype)
        for bijection, given, part_key in self.parts(context, key):
            z, log_det = bijection.forward_and_log_det(z, given, key=part_key)
            total = total + log_det
        return z, total

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        total = jnp.zeros((), x.dtype)
        for bijection, given, part_key in reversed(self.parts(context, key)):
            x, log_det = bijection.inverse_and_log_det(x, given, key=part_key)
            total = total + log_det
        return x, total

    def centred(self) -> tuple[AbstractBijection, np.ndarray | None]:
        last, centre = self.bijections[-1].centred()
        if centre is None:
            return self, None
        return eqx.tree_at(lambda chain: chain.bijections[-1], self, last), centre

    def parts(
        self, context: Array | None, key: PRNGKeyArray | None
    ) -> list[tuple[AbstractBijection, Array | None, PRNGKeyArray | None]]:
        """The bijections, from base to data, each with what it is given of a context and a key."""
        keys = [None] * len(self.bijections) if key is None else list(jax.random.split(key, len(self.bijections)))
        given = [None if bijection.context_shape is None else context for bijection in self.bijections]
        return list(zip(self.bijections, given, keys, strict=True))


class Inverse(AbstractBijection):
    """A bijection turned round: x = T^-1(z), z = T(x), with their log-determinants exchanged likewise.

    Args:
        bijection: the bijection to turn round.

    Cost: that of the other, with the directions exchanged.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Exp, Inverse
        >>> print(Inverse(Exp()).forward(jnp.array(1.0)))
        0.0

    Reference: Papamakarios, Nalisnick, Rezende, Mohamed & Lakshminarayanan 2021, section 2.1.
    """

    bijection: AbstractBijection

    def __init__(self, bijection: AbstractBijection) -> None:
        self.bijection = bijection

    @property
    def shape(self) -> tuple[int, ...]:
        return self.bijection.shape

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        return self.bijection.context_shape

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self.bijection.inverse_and_log_det(z, context, key=key)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self.bijection.forward_and_log_det(x, context, key=key)


class Conditional(AbstractBijection):
    """A layer of few parameters made conditional: x = T(z; theta + network(context)).

    The network's output, a vector of as many numbers as the layer trains, is cut along the layer's trained leaves and
    added to them; zero output leaves the layer as given. Layers that own a network (coupling, autoregressive) take the
    context there instead.

    Args:
        layer: an unconditional bijection with trained leaves.
        network: maps a context to a vector of `count_parameters(layer)` numbers.
        context_shape: shape of the context.

    Cost: one pass of the network, then the layer's, in both directions.

    Raises:
        ShapeError: if the layer is conditional already, has nothing to train, or the network's output does not fit.

    Reference: Winkler, Worrall, Hoogeboom & Welling 2019, section 3 (conditional flows).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.bijections import Affine, Conditional, Elementwise
        >>> from pushforward.networks import MLP
        >>> layer = Elementwise(Affine(), shape=(2,))
        >>> network = MLP(3, (4,), width=8, depth=1, key=jax.random.key(0))
        >>> conditional = Conditional(layer, network, context_shape=(3,))
        >>> print(conditional.forward(jnp.ones(2), jnp.ones(3)))
        [1. 1.]
    """

    layer: AbstractBijection
    network: Callable[..., Array]
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, layer: AbstractBijection, network: Callable[..., Array], context_shape: tuple[int, ...]) -> None:
        self.layer, self.network, self.context_shape = layer, network, tuple(context_shape)

    def __check_init__(self) -> None:
        if self.layer.context_shape is not None:
            raise ShapeError("layer: expected an unconditional layer, got one that takes a context already.")
        expected = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(self.layer, trainable(self.layer))))
        if expected == 0:
            raise ShapeError(f"layer: {type(self.layer).__name__} has no trained leaves for a context to act on.")
        got = jax.eval_shape(self.network, jax.ShapeDtypeStruct(self.context_shape, jnp.result_type(float)))
        if got.shape != (expected,):
            raise ShapeError(
                f"network: expected an output of shape ({expected},), one number for each trained number of "
                f"{type(self.layer).__name__}, got {got.shape}."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.layer.shape

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._at(context).forward_and_log_det(z, key=key)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        return self._at(context).inverse_and_log_det(x, key=key)

    def _at(self, context: Array | None) -> AbstractBijection:
        return shift_leaves(self.layer, self.network(context))


def shift_leaves(tree: Any, shifts: Array) -> Any:
    """Add consecutive parts of a vector to the trained leaves of a tree."""
    trained, rest = eqx.partition(tree, trainable(tree))
    leaves, structure = jax.tree.flatten(trained)
    ends = np.cumsum([leaf.size for leaf in leaves])
    leaves = [leaf + shifts[end - leaf.size : end].reshape(leaf.shape) for leaf, end in zip(leaves, ends, strict=True)]
    return eqx.combine(jax.tree.unflatten(structure, leaves), rest)


class Standardise(AbstractBijection):
    """Fixed shift and scale between standardised units and the data's own: x = mean + scale z.

    The outermost layer of every recipe: the identity until `fit` fills it from the data (a later fit keeps it). Kept in
    NumPy float64, whatever JAX's default; where the mean is far from zero the public methods of a distribution
    subtract it in float64, so scores do not depend on the origin of the user's units.

    Args:
        shape: event shape.
        shared: whether all places along the first axis share their moments, as those of a sequence do, whose layers
            share their weights.
        joint_start: whether `fit` may put correlations and clusters of the data behind this layer (a `Whiten`, a
            mixture of normals as base), where training starts nearer to the data with them.
        compress: whether standardised values beyond 5 are brought near, as of a context, which a network is given:
            z = u for |u| <= 5, else sign(u) (5 + log(|u| - 4)), u = (x - mean) / scale. A code such as -9999999 for
            missing values then neither drowns the others nor is lost.

    Cost: O(D) in both directions; the log-determinant is the constant sum of log scale, plus the compression's.

    Reference: LeCun, Bottou, Orr & Mueller 1998, section 4.3.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from pushforward.bijections import Standardise
        >>> layer = Standardise((2,)).filled(np.array([1.0, 2.0]), np.array([2.0, 2.0]))
        >>> print(layer.forward(jnp.zeros(2)))
        [1. 2.]
    """

    mean: np.ndarray | Array = fixed()
    scale: np.ndarray | Array = fixed()
    is_filled: np.ndarray | Array = fixed()
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)
    shared: bool = eqx.field(static=True, default=False)  # files of versions without it are read as False
    joint_start: bool = eqx.field(static=True, default=False)
    compress: bool = eqx.field(static=True, default=False)  # likewise

    def __init__(
        self, shape: tuple[int, ...], *, shared: bool = False, joint_start: bool = False, compress: bool = False
    ) -> None:
        self.mean, self.scale, self.is_filled = np.zeros(shape), np.ones(shape), np.zeros((), bool)
        self.shape, self.context_shape = tuple(shape), None
        self.shared, self.joint_start, self.compress = bool(shared), bool(joint_start), bool(compress)

    def filled(self, mean: np.ndarray, scale: np.ndarray) -> "Standardise":
        """The same layer with these moments (float64, of the event shape; every scale positive and finite)."""
        mean, scale = np.asarray(mean, np.float64), np.asarray(scale, np.float64)
        if mean.shape != self.shape or scale.shape != self.shape:
            raise ShapeError(f"mean, scale: expected shape {self.shape}, got {mean.shape} and {scale.shape}.")
        if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise ValueError("mean, scale: expected finite means and positive finite scales.")
        return eqx.tree_at(lambda s: (s.mean, s.scale, s.is_filled), self, (mean, scale, np.ones((), bool)))

    def initialised(
        self,
        x: np.ndarray,
        context: np.ndarray | None = None,
        *,
        reach: float | None = None,
        circular: np.ndarray | None = None,
    ) -> "Standardise":
        """The same layer with the moments of the rows x (n, *shape), taken in float64; once filled, unchanged.

        Absurd values do not count (`moments`). With a `reach`, an element's scale is the larger of its standard
        deviation and what brings 99.9 % of its rows within +-reach: beyond the box of a spline a layer is the identity
        and could not learn. Elements that are `circular` (bool, of the event shape) keep their units.
        """
        if bool(self.is_filled):
            return self
        x = np.asarray(x, np.float64)
        rows = x.reshape(-1, math.prod(self.shape[1:]) if self.shared else math.prod(self.shape))
        mean, scale = moments(rows, CONTEXT_TAILS if self.compress else EVENT_TAILS)
        if reach is not None:
            scale = np.maximum(scale, reach_of(rows - mean) / reach)
        scale = np.where(scale > 0, scale, 1.0)
        element = (1, *self.shape[1:]) if self.shared else self.shape
        mean, scale = (np.broadcast_to(part.reshape(element), self.shape) for part in (mean, scale))
        if circular is not None:
            mean, scale = np.where(circular, 0.0, mean), np.where(circular, 1.0, scale)
        return self.filled(mean, scale)

    def centred(self) -> tuple["Standardise", np.ndarray | None]:
        mean = np.asarray(self.mean, np.float64)
        far = np.abs(mean) > FAR * np.asarray(self.scale)
        if mean.shape != self.shape or not far.any():
            return self, None
        return eqx.tree_at(lambda s: s.mean, self, np.where(far, 0.0, mean)), np.where(far, mean, 0.0)

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        mean, scale = jnp.asarray(self.mean, z.dtype), jnp.asarray(self.scale, z.dtype)
        log_slope = jnp.log(scale)
        if self.compress:
            z, more = expanded(z)
            log_slope = log_slope + more
        return mean + scale * z, jnp.sum(log_slope)

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        mean, scale = jnp.asarray(self.mean, x.dtype), jnp.asarray(self.scale, x.dtype)
        z, log_slope = (x - mean) / scale, -jnp.log(scale)
        if self.compress:
            z, more = compressed(z)
            log_slope = log_slope + more
        return z, jnp.sum(log_slope)
