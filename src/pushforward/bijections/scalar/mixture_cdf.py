"""The distribution function of a mixture as a scalar map, for multimodal conditionals."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pushforward.bijections.scalar.by_root import AbstractByRoot
from pushforward.numerics.arrays import on_device, zeros
from pushforward.numerics.elementary import log_normal_cdf, log_normal_hazard, soft_clamp

_LOG_SCALE_BOUND = 7.0


class AbstractMixtureCDF(AbstractByRoot):
    """z = logit(F(x)), F the distribution function of a mixture of K components; `forward` uses the root solver.

    Subclasses define the component of location 0 and scale 1.
    """

    logits: eqx.AbstractVar[Float[Array, "..."]]
    means: eqx.AbstractVar[Float[Array, "..."]]
    log_scales: eqx.AbstractVar[Float[Array, "..."]]

    @staticmethod
    @abc.abstractmethod
    def _component(u: Array) -> tuple[Array, Array, Array, Array]:
        """log F, log(1 - F), log(F' / F) and log(F' / (1 - F)) of one component at u."""

    def inverse_and_log_det(
        self, x: Array, context: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        """z = log F - log(1 - F) and log dz/dx = log (f/F + f/(1 - F)).

        Both hazards are averages over the components, weighted by their shares of F and of 1 - F. No difference of
        large logarithms occurs, so the slope keeps its digits in the tails; logarithms keep it from vanishing between
        modes.
        """
        log_scales = soft_clamp(self.log_scales, _LOG_SCALE_BOUND)
        below, above, left, right = self._component((x[None] - self.means) * jnp.exp(-log_scales))
        log_weights = jax.nn.log_softmax(self.logits, axis=0)
        below, above = log_weights + below, log_weights + above
        shares = jax.nn.log_softmax(below, axis=0), jax.nn.log_softmax(above, axis=0)
        slopes = jnp.logaddexp(shares[0] + left, shares[1] + right) - log_scales
        z = jax.nn.logsumexp(below, axis=0) - jax.nn.logsumexp(above, axis=0)
        return z, jax.nn.logsumexp(slopes, axis=0)


class MixtureLogistic(AbstractMixtureCDF):
    """Logit of the distribution function of a mixture of logistics: z = logit(sum_k w_k sigmoid((x - mu_k) / s_k)).

    Over a logistic base each conditional is exactly that mixture. w = softmax(logits), s_k = exp(7 tanh(l_k / 7)).

    Args:
        n_components: K.

    Leaves (unconstrained): `logits` (K,), `means` (K,), `log_scales` (K,). The means start spread over (-1.5, 1.5):
    equal components would remain equal in training.

    Cost: inverse (density) O(K); forward (sampling) O(K) for each step of the root solver.

    Raises:
        ValueError: if K is not positive.

    Reference: Ho, Chen, Srinivas, Duan & Abbeel 2019 (Flow++), equation 10, without its further affine map.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import MixtureLogistic
        >>> x, log_det = MixtureLogistic(3).forward_and_log_det(jnp.array(0.0))
        >>> print(abs(x) < 1e-6)
        True
    """

    logits: Float[Array, "..."]
    means: Float[Array, "..."]
    log_scales: Float[Array, "..."]

    def __init__(self, n_components: int = 8) -> None:
        self.logits, self.means, self.log_scales = _start(n_components)

    @staticmethod
    def _component(u: Array) -> tuple[Array, Array, Array, Array]:
        below, above = -jax.nn.softplus(-u), -jax.nn.softplus(u)
        return below, above, above, below


class MixtureNormal(AbstractMixtureCDF):
    """Logit of the distribution function of a mixture of normals: z = logit(sum_k w_k Phi((x - mu_k) / s_k)).

    Over a *logistic* base each conditional is exactly that mixture of Gaussians, in logarithms, so that the tails keep
    their digits. w = softmax(logits), s_k = exp(7 tanh(l_k / 7)).

    Args:
        n_components: K.

    Leaves (unconstrained): `logits` (K,), `means` (K,), `log_scales` (K,). The means start spread over (-1.5, 1.5):
    equal components would remain equal in training.

    Cost: inverse (density) O(K); forward (sampling) O(K) for each step of the root solver.

    Raises:
        ValueError: if K is not positive.

    Reference: Papamakarios, Pavlakou & Murray 2017, section 3.1 and 4 (MADE MoG), written as a map.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import MixtureNormal
        >>> z, _ = MixtureNormal(3).inverse_and_log_det(jnp.array(0.0))
        >>> print(abs(z) < 1e-6)
        True
    """

    logits: Float[Array, "..."]
    means: Float[Array, "..."]
    log_scales: Float[Array, "..."]

    def __init__(self, n_components: int = 8) -> None:
        self.logits, self.means, self.log_scales = _start(n_components)

    @staticmethod
    def _component(u: Array) -> tuple[Array, Array, Array, Array]:
        sides = jnp.stack([u, -u])  # one array: half as much to compile
        (below, above), (left, right) = log_normal_cdf(sides), log_normal_hazard(sides)
        return below, above, left, right


def _start(n_components: int) -> tuple[Array, Array, Array]:
    if n_components < 1:
        raise ValueError(f"n_components: expected at least 1, got {n_components}: a mixture needs a component.")
    spread = 1.5 * (2 * np.arange(n_components) + 1 - n_components) / n_components
    return zeros(n_components), on_device(spread, jnp.result_type(float)), zeros(n_components)
