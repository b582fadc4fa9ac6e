"""Flows as scikit-learn estimators: the density of rows, and the density of targets given rows.

    pf.FlowDensity(flow="nsf", random_state=0).fit(X).score_samples(X)
    pf.ConditionalFlowDensity(random_state=0).fit(X, y).predict_quantiles(X, [0.05, 0.95])

Needs scikit-learn: pip install "pushforward[sklearn]". Flows are trained in float32, the default of JAX. Scores,
samples and transforms are computed in float64, with the weights cast up.
"""

from pushforward.errors import MissingExtra

try:
    import sklearn  # noqa: F401
except ModuleNotFoundError as fault:
    if fault.name != "sklearn":
        raise
    raise MissingExtra("scikit-learn", "sklearn", "An estimator") from fault

from pushforward.tabular.estimators.conditional import ConditionalFlowDensity
from pushforward.tabular.estimators.density import FlowDensity

__all__ = ["ConditionalFlowDensity", "FlowDensity"]
