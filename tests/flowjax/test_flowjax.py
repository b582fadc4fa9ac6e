"""FlowJAX: bijections and distributions in both directions.

Rows of the battery are in tests/support/zoo/flowjax.py; tests/test_pages.py checks the other pages of docs/extend.
"""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.case import randomised
from documents import run_page
from sampling import quick_few
from zoo import ALL_ROWS, CONTEXT_DIM

import pushforward as pf
from pushforward.errors import MissingExtra, ModelFileError

pytest.importorskip("flowjax")

import flowjax.bijections as theirs
import flowjax.distributions
import paramax
from flowjax.train import fit_to_data

from pushforward.flowjax import FlowJAXBijection, FlowJAXDistribution, from_flowjax, to_flowjax

KEY = jax.random.key(0)
X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2)), jnp.float32)
OURS = (
    "RationalQuadraticSpline", "PLU", "Householder", "Chain", "Coupling with context", "MaskedAutoregressive",
    "Inverse[Coupling]", "Conditional[Triangular]", "Planar", "Radial", "nsf D=3 context",
)  # fmt: skip


@pytest.fixture(autouse=True)
def ranks_of_flowjax():
    """Allow rank promotion, which FlowJAX uses."""
    with jax.numpy_rank_promotion("allow"):
        yield


def perturbed(module):
    trained, rest = eqx.partition(module, pf.trainable(module))
    return eqx.combine(randomised(trained, 0.2), rest)


@pytest.fixture(scope="module")
def flow():
    return perturbed(pf.maf(2, context_dim=1, n_layers=2, width=6, depth=1, key=0))


# ---- bijections of pushforward in FlowJAX


@pytest.mark.parametrize("name", quick_few(OURS, "RationalQuadraticSpline", "Coupling with context"))
def test_bijection_of_pushforward_passes_the_checks_of_flowjax(name):
    """Those of FlowJAX's tests: shapes, round trip, both log-determinants against the Jacobian, refused inputs."""
    ours = perturbed(next(row for row in ALL_ROWS if row.name == name).build())
    bijection = to_flowjax(ours)
    shape, random = bijection.shape, np.random.default_rng(1)
    x = jnp.asarray(random.normal(size=shape), jnp.result_type(float))
    condition = jnp.asarray(random.normal(size=bijection.cond_shape or (CONTEXT_DIM,)), x.dtype)

    @eqx.filter_jit
    def figures(bijection, x, condition):
        y, log_det = bijection.transform_and_log_det(x, condition)
        flat = lambda v: bijection.transform(v.reshape(shape), condition).ravel()  # noqa: E731
        jacobian = jax.jacobian(flat)(x.ravel())
        back = bijection.inverse_and_log_det(y, condition)
        return y, log_det, jacobian, *back, bijection.inverse(y, condition)

    y, log_det, jacobian, x_again, log_det_inverse, x_alone = figures(bijection, x, condition)
    assert y.shape == shape
    assert log_det.shape == log_det_inverse.shape == ()
    np.testing.assert_allclose(x_again, x, atol=1e-4)
    np.testing.assert_array_equal(x_alone, x_again)
    exact = np.linalg.slogdet(np.asarray(jacobian, np.float64).reshape(max(x.size, 1), -1))[1]
    np.testing.assert_allclose([log_det, -log_det_inverse], [exact, exact], atol=1e-4)
    with pytest.raises(ValueError, match="Expected input shape"):
        bijection.transform(jnp.ones((*shape, 7)), condition)
    if bijection.cond_shape is not None:
        with pytest.raises(ValueError, match="Expected condition to be provided"):
            bijection.transform(x)
        with pytest.raises(ValueError, match=r"Expected condition\.shape"):
            bijection.transform(x, jnp.ones(7))


@pytest.mark.slow
def test_bijection_of_pushforward_composes_in_flowjax():
    """A chain, inverted, and a scan over stacked layers equal the same maps in pushforward."""
    build = lambda key: pf.maf(2, n_layers=1, width=4, depth=1, key=key).bijection.bijections[0]  # noqa: E731
    ours = perturbed(build(0))
    affine = theirs.Affine(jnp.ones(2), 2 * jnp.ones(2))
    chain = theirs.Invert(theirs.Chain([to_flowjax(ours), affine]))
    np.testing.assert_allclose(chain.inverse(X[0]), 2 * ours.forward(X[0]) + 1, rtol=1e-5)
    keys = jax.random.split(KEY, 2)
    scan = theirs.Scan(eqx.filter_vmap(lambda key: to_flowjax(build(key)))(keys))
    np.testing.assert_allclose(scan.transform(X[0]), X[0], rtol=1e-5)


@pytest.mark.slow
def test_training_by_flowjax_leaves_frozen_arrays(flow):
    """Permutations, standardisation and start values stay; weights move; the trained flow comes back."""
    context = X[:, :1] + jnp.arange(5.0)[:, None]
    trained, _ = fit_to_data(
        KEY, to_flowjax(flow), (X[:, :2], context), max_epochs=1, batch_size=2, val_prop=0.4, show_progress=False
    )
    after = from_flowjax(trained)
    flags = pf.trainable(flow)
    for wanted, kind in ((False, eqx.filter(flow, flags)), (True, eqx.filter(flow, flags, inverse=True))):
        other = eqx.filter(after, flags, inverse=wanted)
        same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), eqx.filter(kind, eqx.is_array), other)
        assert all(jax.tree.leaves(same)) == wanted


# ---- bijections of FlowJAX in pushforward


def test_constants_of_flowjax_are_frozen():
    affine = theirs.Affine(jnp.ones(2), jnp.ones(2))
    assert pf.bijections.Chain([FlowJAXBijection(affine)]).shape == (2,)
    flow = pf.Flow(pf.bases.Normal((2,)), from_flowjax(theirs.Chain([affine, paramax.non_trainable(affine)])))
    assert sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(flow, pf.trainable(flow)))) == 4


@pytest.mark.slow
def test_masked_autoregressive_of_flowjax_fits_in_a_flow():
    layer = theirs.MaskedAutoregressive(KEY, transformer=theirs.Affine(), dim=2, cond_dim=1, nn_width=8, nn_depth=1)
    flow = pf.Flow(pf.bases.Normal((2,)), from_flowjax(theirs.Invert(layer)), standardise_context=False)
    x, log_prob = flow.sample_and_log_prob(4, key=0, context=X[:4, :1])
    expected = flowjax.distributions.Transformed(
        flowjax.distributions.StandardNormal((2,)), theirs.Invert(layer)
    ).log_prob(x[0], X[:4, :1])
    np.testing.assert_allclose(log_prob[0], expected, rtol=1e-4)
    np.testing.assert_allclose(flow.log_prob(x, X[:4, :1]), log_prob, rtol=1e-4)


def test_model_files_hold_what_has_no_functions(tmp_path):
    base = pf.bases.Normal((2,))
    flow = pf.Flow(base, from_flowjax(theirs.Permute(jnp.array([1, 0]))))
    pf.save(tmp_path / "a.safetensors", flow)
    loaded = pf.load(tmp_path / "a.safetensors", extra=(FlowJAXBijection, theirs.Permute))
    assert eqx.tree_equal(loaded, flow)
    with pytest.raises(ModelFileError, match="function"):
        pf.save(tmp_path / "b.safetensors", pf.Flow(base, from_flowjax(theirs.Affine(jnp.ones(2)))))


# ---- distributions


def test_distributions_agree_in_both_libraries(flow):
    normal = flowjax.distributions.Normal(jnp.array([1.0, 2.0]), 3.0)
    base = from_flowjax(normal)
    np.testing.assert_allclose(base.log_prob(X), normal.log_prob(X), rtol=1e-5)
    x, log_prob = base.sample_and_log_prob(7, key=0)
    np.testing.assert_allclose(base.log_prob(x), log_prob, rtol=1e-5)

    wrapped, context = to_flowjax(flow), X[:, :1]
    np.testing.assert_allclose(
        eqx.filter_jit(wrapped.log_prob)(X, context), flow.log_prob(X, context), rtol=1e-4, atol=1e-4
    )
    x, log_prob = eqx.filter_jit(lambda key: wrapped.sample_and_log_prob(key, (3,), context))(KEY)
    assert x.shape == (3, 5, 2)
    np.testing.assert_allclose(log_prob, flow.log_prob(x, context), rtol=1e-4, atol=1e-4)


def test_conversion_and_back_is_the_identity(flow):
    for ours in (flow, flow.bijection):
        assert eqx.tree_equal(from_flowjax(to_flowjax(ours)), ours)
    for other in (theirs.Chain([theirs.Flip((2,)), theirs.Affine(jnp.ones(2))]), flowjax.distributions.Gumbel(1.0)):
        assert to_flowjax(from_flowjax(other)) == other


def test_flowjax_within_pushforward_within_flowjax():
    """FlowJAX unwraps every node before a call; those of its own modules in a flow of ours must survive it."""
    inner = theirs.Chain([theirs.Affine(jnp.ones(2)), paramax.non_trainable(theirs.Affine(jnp.ones(2)))])
    layer = to_flowjax(pf.bijections.Inverse(from_flowjax(inner)))
    np.testing.assert_allclose(layer.transform(X[0]), X[0] - 2, rtol=1e-5)
    outer = from_flowjax(theirs.Invert(layer))
    np.testing.assert_allclose(outer.forward(X[0]), X[0] + 2, rtol=1e-5)
    assert sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(outer, pf.trainable(outer)))) == 4


def test_wrong_arguments_are_refused(flow):
    for call, argument in (
        (FlowJAXBijection, flow.bijection), (FlowJAXDistribution, flow), (from_flowjax, flow),
        (to_flowjax, theirs.Flip((2,))), (type(to_flowjax(flow)), 3), (type(to_flowjax(flow.bijection)), flow),
    ):  # fmt: skip
        with pytest.raises(TypeError, match="expected"):
            call(argument)


def test_import_without_flowjax_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("pushforward.flowjax")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "flowjax", None)
    with pytest.raises(MissingExtra, match=r'pip install "pushforward\[flowjax\]"'):
        import pushforward.flowjax  # noqa: F401


@pytest.mark.slow
def test_page_runs(tmp_path):
    variables = run_page("extend/flowjax.md", tmp_path)
    assert variables["again"] is not None
    assert np.isfinite(variables["flow"].log_prob(variables["x"])).all()
