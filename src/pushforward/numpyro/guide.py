"""A flow as the guide of a NumPyro model, for variational inference and neural transport."""

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
from pushforward.core.fields import trainable
from pushforward.core.flow import Flow
from pushforward.errors import ShapeError
from pushforward.numerics.keys import as_key
from pushforward.numpyro.distribution import FlowDistribution
from pushforward.numpyro.transform import FlowTransform
from pushforward.recipes import RECIPES
from pushforward.train.checks import check_precision

_LOG_BOUND = 10.0  # of the outer log-scales
_SHIFT = 0  # row of the shifts in the parameters of an affine layer


class AutoPushforward(AutoContinuous):
    """A flow as guide, over all latent sites jointly in their unconstrained units.

        x = loc + scale * T(z),   z from the flow's base,   ELBO = E[log p(x, data) - log q(x)]

    It is used like NumPyro's guides: pass it to `SVI`, then call `sample_posterior`, or pass it with its parameters to
    `NeuTraReparam`. It supports a single latent number too. The log-density of a sample comes from the sampling pass,
    so flows that sample in one pass (`iaf`, couplings, `planar_flow`) are cheapest.

    Parameters: one `numpyro.param`, `{prefix}_flow`, a dict of the flow's trained arrays by their path.

    Args:
        model: a NumPyro model with continuous latent sites.
        flow: the name of a recipe such as "iaf", "nsf" or "planar_flow"; a function of the latent dimension that
            returns a flow; or a flow of shape (latent dimension,), which is used unchanged.
        prefix: of the names of the guide's sites.
        key: for the flow's initial weights, a JAX key or an int.
        init_loc_fn: NumPyro's strategy for the initial location.
        init_scale: initial standard deviation about that location, of a flow by name or from a function: a last layer
            with `loc` and `scale` above, which are trained too. None: no such layer. A flow as argument has none.
        path_gradient: the path derivative instead of the total one, see `FlowDistribution`. It reaches a better bound
            in as many steps, at one inverse pass a sample. Use False where the inverse needs a root solver (bnaf, naf)
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
        self._argument, self._key, self._options = flow, as_key(key), options
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
        """The flow's base before training."""
        return FlowDistribution(self._flow.base)

    def get_transform(self, params: dict[str, Any]) -> FlowTransform:
        """The trained map from the base to the unconstrained latent."""
        return FlowTransform(self.get_flow(params).bijection)

    def get_posterior(self, params: dict[str, Any]) -> FlowDistribution:
        """The trained distribution of the unconstrained latent."""
        return FlowDistribution(self.get_flow(params))

    def get_flow(self, params: dict[str, Any]) -> Flow:
        """The trained flow, in unconstrained units, for `pf.save`, `pf.check` and `pf.importance_sample`."""
        return self._with_params(params[self._site])

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
        """Marginal quantiles of each latent variable in the model's units, element by element, from samples.

        Args:
            params: from `svi.get_params`.
            quantiles: numbers from 0 to 1.
            n: number of samples.
            key: a JAX key or an int.

        Returns:
            An array (number of quantiles, *shape of the site) for each site.
        """
        samples = self.sample_posterior(as_key(key), params, sample_shape=(n,))
        return {name: jnp.quantile(values, jnp.asarray(quantiles), axis=0) for name, values in samples.items()}

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        with jax.ensure_compile_time_eval():  # concrete frozen arrays under a caller's trace too
            self._flow = self._build_flow(int(self.latent_dim))

    def _get_posterior(self) -> FlowDistribution:
        # lazy: the initial location may be a tracer of a trace that has ended
        init: Any = lambda key: self._init_params()  # noqa: E731
        params: Any = numpyro.param(self._site, init)
        return FlowDistribution(self._with_params(params), path_gradient=self._path_gradient)

    @property
    def _site(self) -> str:
        return f"{self.prefix}_flow"

    def _build_flow(self, dim: int) -> Flow:
        """The flow before training, the outer location at zero."""
        if isinstance(self._argument, str):
            flow = RECIPES[self._argument](dim, key=self._key, **self._options)
        else:
            flow = self._argument if isinstance(self._argument, Flow) else self._argument(dim)
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

    def _init_params(self) -> dict[str, Array]:
        """The initial trained arrays, with the outer location at the latent's initial value."""
        flow = self._flow
        if self._init_scale is not None:
            where = lambda flow: flow.bijection.bijections[-1].parameters  # noqa: E731
            flow = eqx.tree_at(where, flow, where(flow).at[_SHIFT].set(self._init_latent))
        paths, leaves = _params(flow)
        return dict(zip(paths, leaves, strict=True))

    def _with_params(self, params: dict[str, Array]) -> Flow:
        """The flow with these trained arrays."""
        flags, (paths, _) = trainable(self._flow), _params(self._flow)
        leaves = iter([params[path] for path in paths])
        return jax.tree.map(lambda leaf, is_trained: next(leaves) if is_trained else leaf, self._flow, flags)


def _params(flow: Flow) -> tuple[list[str], list[Array]]:
    """The paths of a flow's trained arrays, and the arrays."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(flow, trainable(flow)))
    return [jax.tree_util.keystr(path).lstrip(".") for path, _ in leaves], [leaf for _, leaf in leaves]
