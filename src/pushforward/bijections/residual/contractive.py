"""The residual block x = z + g(z), a bijection because g contracts."""

from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, UInt32

from pushforward.bijections.residual.log_det import AbstractLogDet, Exact, RussianRoulette
from pushforward.bijections.residual.solve import Solution, fixed_point_of
from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import frozen
from pushforward.errors import InverseError
from pushforward.networks import AbstractLipschitzNetwork
from pushforward.numerics.arrays import on_device

Tree = TypeVar("Tree")

_EXACT_TRAINING, _EXACT_SCORING = 8, 64  # coordinates up to which the full Jacobian is used
_ODD = np.uint32(0x9E3779B1)


class Contractive(AbstractBijection):
    """Residual block: x = z + g(z; context), |g(a) - g(b)| <= L |a - b| with L < 1.

    log|det| = log|det(I + J)|, J = dg/dz, by an estimator. Training (with a key) may use another one than scoring.
    Scores are deterministic: random estimators use `seed`, which a flow combines with the bits of each sample, so that
    the errors of samples are independent and do not depend on the batch.

    The inverse is the fixed point of z = x - g(z), by Anderson acceleration; it exists and is unique by Banach's
    theorem, and a z with residual r is at most |r| / (1 - L) from it. Flows put `Inverse(Contractive(...))` between
    base and data, so that scoring needs no solver.

    Args:
        network: g; its `shape`, `norm` and `bound` define those of the block.
        training: estimator of the log-determinant in training; exact for up to 8 coordinates by default, Russian
            roulette above.
        scoring: estimator in evaluation; exact for up to 64 coordinates by default, Russian roulette above.
        seed: for random estimators in evaluation.

    Cost: forward one evaluation of g and the log-determinant; inverse 5 to 40 evaluations and the log-determinant.

    Raises:
        ShapeError: if an estimator needs more coordinates than there are.
        InverseError: by the inverse, if the certified bound of the network is not below one, or if the solver does
            not converge (NaN under a trace, which `sample` and `log_prob` report).

    Reference: Behrmann, Grathwohl, Chen, Duvenaud & Jacobsen 2019, section 2; Chen, Behrmann, Duvenaud & Jacobsen 2019,
        section 3. Deviation: accelerated inverse with a certified stop.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.bijections import Contractive
        >>> from pushforward.networks import LipschitzMLP
        >>> layer = Contractive(LipschitzMLP(2, width=8, depth=1, lipschitz=0.9, key=jax.random.key(0)))
        >>> print(jnp.allclose(layer.inverse(layer.forward(jnp.ones(2))), jnp.ones(2), atol=1e-5))
        True
    """

    has_search: ClassVar[bool] = True

    network: AbstractLipschitzNetwork
    training: AbstractLogDet
    scoring: AbstractLogDet
    seed: UInt32[Array, "..."] = frozen()

    def __init__(
        self,
        network: AbstractLipschitzNetwork,
        *,
        training: AbstractLogDet | None = None,
        scoring: AbstractLogDet | None = None,
        seed: int = 0,
    ) -> None:
        size = jnp.zeros(network.shape).size
        if training is None:
            training = Exact() if size <= _EXACT_TRAINING else RussianRoulette()
        if scoring is None:
            scoring = Exact() if size <= _EXACT_SCORING else RussianRoulette()
        self.network, self.training, self.scoring = network, training, scoring
        self.seed = on_device(seed, jnp.uint32)

    def __check_init__(self) -> None:
        size = 1
        for length in self.shape:
            size *= length
        for estimator in (self.training, self.scoring):
            estimator.check_size(size)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.network.shape

    @property
    def context_shape(self) -> tuple[int, ...] | None:
        return (self.network.context_size,) if self.network.context_size else None

    def forward_and_log_det(
        self, z: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        step, log_det = self._step_and_log_det(z, context, key)
        return z + step, log_det

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        solution = self.solve(x, context)
        self._check(solution)
        z = solution.value.reshape(x.shape)
        return z, -self._step_and_log_det(z, context, key)[1]

    def solve(self, x: Array, context: Array | None = None) -> Solution:
        """The z with z + g(z; context) = x, as a flat vector, with iterations, residual and error bound."""

        def iterate(weights: tuple[AbstractLipschitzNetwork, Array, Array | None], z: Array) -> Array:
            network, x, context = weights
            return (x - network(z.reshape(x.shape), context)).reshape(-1)

        rate = self.network.bound.astype(x.dtype)
        return fixed_point_of(iterate, (self.network, x, context), x.reshape(-1), rate, self.network.norm)

    def _check(self, solution: Solution) -> None:
        """Raise if a concrete solution did not converge; the error says if the bound of the network is the cause."""
        if isinstance(solution.is_converged, jax.core.Tracer) or bool(solution.is_converged):
            return
        if float(self.network.bound) >= 1:
            raise InverseError(
                f"Contractive: the certified Lipschitz bound of the network is {float(self.network.bound):.4g}, not "
                "below 1: there may be no inverse. Call pushforward.finalise on the flow: it rescales "
                "weights."
            )
        raise InverseError(
            f"Contractive: the inverse did not converge in {int(solution.n_iterations)} iterations and "
            f"{int(solution.n_newton)} Newton "
            f"steps: its residual is {float(solution.residual):.3g}. Use float64, or a smaller lipschitz=."
        )

    def _step_and_log_det(self, z: Array, context: Array | None, key: PRNGKeyArray | None) -> tuple[Array, Array]:
        if key is not None:
            return self.training(self.network, z, context, key, is_shared=True)
        if self.scoring.is_random:
            key = jax.random.key(self.seed)
        return self.scoring(self.network, z, context, key)

    @property
    def is_estimated(self) -> bool:
        """Whether scores depend on `seed`."""
        return self.scoring.is_random

    def reseeded(self, number: int | Array) -> "Contractive":
        """The block with another seed, derived from `number`, if its scoring is random."""
        if not self.scoring.is_random:
            return self
        return eqx.tree_at(lambda layer: layer.seed, self, self.seed + jnp.asarray(number, jnp.uint32) * _ODD)

    def without_log_det(self) -> "Contractive":
        """The block without its log-determinant."""
        return eqx.tree_at(lambda layer: layer.scoring, self, _NoLogDet())


class _NoLogDet(AbstractLogDet):
    """Zero, where samples are asked for without their log-densities; it is never stored."""

    is_random: ClassVar[bool] = False

    def __call__(
        self,
        network: AbstractLipschitzNetwork,
        z: Array,
        context: Array | None,
        key: PRNGKeyArray | None,
        *,
        is_shared: bool = False,
    ) -> tuple[Array, Array]:
        return network(z, context), jnp.zeros((), z.dtype)


def exactly(tree: Tree) -> Tree:
    """The tree with exact log-determinants in the scoring of all residual blocks."""

    def step(node: Any) -> Any:
        return eqx.tree_at(lambda layer: layer.scoring, node, Exact()) if isinstance(node, Contractive) else node

    return jax.tree.map(step, tree, is_leaf=lambda node: isinstance(node, Contractive))
