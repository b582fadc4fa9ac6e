"""A flow as the guide of a NumPyro model: variational inference, and the map of neural transport."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro
from jaxtyping import Array, PRNGKeyArray
from numpyro.infer.autoguide import AutoContinuous
from numpyro.infer.initialization import init_to_uniform

from pushforward.bijections import Affine, Chain, Elementwise
from pushforward.core.distribution import as_key
from pushforward.core.fields import trainable
from pushforward.core.flow import Flow
from pushforward.errors import ShapeError
from pushforward.numpyro.distribution import FlowDistribution
from pushforward.numpyro.transform import FlowTransform
from pushforward.recipes import RECIPES
from pushforward.train.checks import check_precision

_LOG_BOUND = 10.0  # of the outer scales: from exp(-10) to exp(10)
_SHIFT = 0  # the row of an affine layer's parameters that holds its shifts


class AutoPushforward(AutoContinuous):
    """A guide that is any flow, over all latent sites at once in their unconstrained units.

        x = loc + scale * T(z),   z from the flow's base,   ELBO = E[log p(x, data) - log q(x)]

    Like NumPyro's own guides: hand it to `SVI`, then ask for `sample_posterior`, or hand it with its parameters to
    `NeuTraReparam`. Works for one latent number too. The log-density of a sample comes from the pass that draws it,
    whence flows that sample in one pass (`iaf`, couplings, `planar_flow`) cost least.

    Parameters: one `numpyro.param`, `{prefix}_flow`, a dict of the flow's trained arrays by their path in it.

    Args:
        model: a NumPyro model with continuous latent sites.
        flow: the name of a recipe such as "iaf", "nsf" or "planar_flow"; a function of the latent dimension that
            returns a flow; or a flow of shape (latent dimension,), which is taken as it is.
        prefix: before the names of the guide's sites.
        key: for the flow's start weights, a JAX key or an int.
        init_loc_fn: NumPyro's strategy for the start location.
        init_scale: standard deviation about that location with which a named flow, or one from a function, starts:
            `loc` and `scale` above, trained like the rest. None: no such layer. A flow that is handed over has none.
        path_gradient: the path derivative in the place of the total one, see `FlowDistribution`. It reaches a better
            bound in as many steps, at one inverse pass a sample. False where the inverse is searched for (bnaf, naf)
            and for bounds other than `Trace_ELBO`, such as `RenyiELBO`, whose gradient it would bias.
        create_plates, forward_mode_differentiation: as for NumPyro's `AutoGuide`.
        options: further arguments of the recipe, such as n_layers=3 or transformer="rational_quadratic".

    Raises:
        ValueError: if the recipe is unknown, an option does not fit, init_scale is not positive, or an array of the
            flow has 16 bits.
        TypeError: if flow is none of the three.
        ShapeError: if the flow has another dimension than the latent sites, or takes a context.

    Reference: Rezende & Mohamed 2015, section 4; Kingma et al. 2016 (IAF); Hoffman et al. 2019 (neural transport).

    Example:
        >>> import jax, numpyro, numpyro.distributions as dist
        >>> from numpyro.infer import SVI, Trace_ELBO
        >>> from pushforward.numpyro import AutoPushforward
        >>> def model(y):
        ...     scale = numpyro.sample("scale", dist.HalfNormal(2.0))
        ...     numpyro.sample("y", dist.Normal(0.0, scale), obs=y)
        >>> guide = AutoPushforward(model, "iaf", n_layers=2, width=8)
        >>> svi = SVI(model, guide, numpyro.optim.Adam(0.01), Trace_ELBO())
        >>> result = svi.run(jax.random.key(0), 100, jax.numpy.ones(5), progress_bar=False)
        >>> print(guide.sample_posterior(jax.random.key(1), result.params, sample_shape=(3,))["scale"].shape)
        (3,)
    """

    def __init__(
        self,
        model: Callable[..., Any],
        flow: Any = "iaf",
        *,
        prefix: str = "auto",
        key: PRNGKeyArray | int = 0,
        init_loc_fn: Callable[..., Any] = init_to_uniform,
        init_scale: float | None = 1.0,
        path_gradient: bool = True,
        create_plates: Callable[..., Any] | None = None,
        forward_mode_differentiation: bool = False,
        **options: Any,
    ) -> None:
        if isinstance(flow, str) and flow not in RECIPES:
            raise ValueError(f"flow: expected one of {', '.join(sorted(RECIPES))}, got {flow!r}.")
        if not (isinstance(flow, str | Flow) or callable(flow)):
            raise TypeError(f"flow: expected a recipe's name, a flow, or a function that makes one, got {flow!r}.")
        if options and not isinstance(flow, str):
            raise ValueError(
                f"{', '.join(options)}: options are for recipes by name; build the flow with them instead."
            )
        if init_scale is not None and not 0 < init_scale < float("inf"):
            raise ValueError(f"init_scale: expected a positive number or None, got {init_scale}.")
        self._given, self._key, self._options = flow, as_key(key), options
        self._init_scale = None if isinstance(flow, Flow) else init_scale
        self._path_gradient = path_gradient
        super().__init__(
            model,
            prefix=prefix,
            init_loc_fn=init_loc_fn,
            create_plates=create_plates,
            forward_mode_differentiation=forward_mode_differentiation,
        )

    def get_base_dist(self) -> FlowDistribution:
        """The flow's base, with its start values where it has parameters of its own."""
        return FlowDistribution(self._flow.base)

    def get_transform(self, params: dict[str, Any]) -> FlowTransform:
        """The trained map from the base to the unconstrained latent."""
        return FlowTransform(self.get_flow(params).bijection)

    def get_posterior(self, params: dict[str, Any]) -> FlowDistribution:
        """The trained distribution of the unconstrained latent."""
        return FlowDistribution(self.get_flow(params))

    def get_flow(self, params: dict[str, Any]) -> Flow:
        """The trained flow, in unconstrained units: what `pf.save`, `pf.check` and `pf.importance_sample` take."""
        return self._with(params[self._site])

    def median(self, params: dict[str, Any], *, n: int = 10_000, key: PRNGKeyArray | int = 0) -> dict[str, Array]:
        """Marginal median of each latent variable, from samples; arguments as for `quantiles`."""
        return {name: values[0] for name, values in self.quantiles(params, [0.5], n=n, key=key).items()}

    def quantiles(
        self,
        params: dict[str, Any],
        quantiles: Sequence[float] | Array,
        *,
        n: int = 10_000,
        key: PRNGKeyArray | int = 0,
    ) -> dict[str, Array]:
        """Marginal quantiles of each latent variable in the model's units, element by element.

        A flow's marginals have no formula: these are quantiles of samples.

        Args:
            params: as from `svi.get_params`.
            quantiles: numbers from 0 to 1.
            n: number of samples.
            key: a JAX key or an int.

        Returns:
            An array (number of quantiles, *shape of the site) for each site.
        """
        drawn = self.sample_posterior(as_key(key), params, sample_shape=(n,))
        return {name: jnp.quantile(values, jnp.asarray(quantiles), axis=0) for name, values in drawn.items()}

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        with (
            jax.ensure_compile_time_eval()
        ):  # so that the flow's fixed arrays are numbers inside a caller's program too
            self._flow = self._made(int(self.latent_dim))

    def _get_posterior(self) -> FlowDistribution:
        # Lazily, for the start location may belong to a program of the caller's that has ended.
        start: Any = lambda key: self._start()  # noqa: E731
        weights: Any = numpyro.param(self._site, start)
        return FlowDistribution(self._with(weights), path_gradient=self._path_gradient)

    @property
    def _site(self) -> str:
        return f"{self.prefix}_flow"

    def _made(self, dim: int) -> Flow:
        """The flow before training, the outer location at zero."""
        if isinstance(self._given, str):
            flow = RECIPES[self._given](dim, key=self._key, **self._options)
        else:
            flow = self._given if isinstance(self._given, Flow) else self._given(dim)
        if not isinstance(flow, Flow):
            raise TypeError(f"flow: expected the function to return a flow, got {flow!r}.")
        if flow.shape != (dim,):
            raise ShapeError(f"flow: the model has {dim} latent numbers, expected shape {(dim,)}, got {flow.shape}.")
        if flow.context_shape is not None:
            raise ShapeError("flow: expected an unconditional flow. Pass one without a context.")
        check_precision("flow", flow)
        if self._init_scale is None:
            return flow
        outer = Elementwise(Affine(scale=self._init_scale, log_bound=_LOG_BOUND), flow.shape)
        return Flow(flow.base, Chain([flow.bijection, outer]))

    def _start(self) -> dict[str, Array]:
        """The start values of the trained arrays, the outer location at the latent's start."""
        flow = self._flow
        if self._init_scale is not None:
            where = lambda flow: flow.bijection.bijections[-1].parameters  # noqa: E731
            flow = eqx.tree_at(where, flow, where(flow).at[_SHIFT].set(self._init_latent))
        paths, leaves = _trained(flow)
        return dict(zip(paths, leaves, strict=True))

    def _with(self, weights: dict[str, Array]) -> Flow:
        """The flow with these trained arrays."""
        flags, (paths, _) = trainable(self._flow), _trained(self._flow)
        parts = iter([weights[path] for path in paths])
        return jax.tree.map(lambda leaf, is_trained: next(parts) if is_trained else leaf, self._flow, flags)


def _trained(flow: Flow) -> tuple[list[str], list[Array]]:
    """The paths of a flow's trained arrays, and the arrays."""
    found = jax.tree_util.tree_leaves_with_path(eqx.filter(flow, trainable(flow)))
    return [jax.tree_util.keystr(path).lstrip(".") for path, _ in found], [leaf for _, leaf in found]
