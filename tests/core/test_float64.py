"""Double precision for a call: cast once for each flow."""

import jax
import numpy as np
import pytest

import pushforward as pf
from pushforward.core.float64 import in_float64, log_prob_float64
from pushforward.numerics.arrays import is_inexact


def test_a_flow_is_cast_once_and_equal_flows_apart():
    flow, other = (pf.nice(2, n_layers=1, width=4, key=key) for key in (0, 1))
    with jax.enable_x64(True):
        assert in_float64(flow) is in_float64(flow)
        assert in_float64(flow) is not in_float64(other)
        dtypes = {leaf.dtype for leaf in jax.tree.leaves(in_float64(flow)) if is_inexact(leaf)}
    assert dtypes == {np.dtype("f8")}


def test_without_x64_is_an_error():
    with pytest.raises(RuntimeError, match="enable_x64"):
        in_float64(pf.nice(2, n_layers=1, width=4, key=0))


def test_scores_are_those_of_the_weights_of_each_flow():
    x = np.random.default_rng(0).standard_normal((5, 2))
    flows = [pf.real_nvp(2, n_layers=2, width=4, key=key) for key in (0, 1)]
    for flow in (*flows, *flows):
        scores = log_prob_float64(flow, x)
        assert scores.dtype == np.float64
        np.testing.assert_allclose(scores, flow.log_prob(x.astype(np.float32)), rtol=1e-4)
