"""The health certificate: sound flows pass, and each planted fault is named by the row it belongs to."""

import json
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijection import AbstractBijection
from pushforward.bijections import Affine, Chain, Elementwise, Sigmoid, Standardise
from pushforward.diagnostics import Certificate, Row, check
from pushforward.errors import DataError, ShapeError

SIZES = {"width": 8, "depth": 1, "n_layers": 2}
FINITE, SAMPLES, OUTWARD, DATA = (
    "finite values", "round trip of samples", "round trip 3 sigma outward", "round trip of data",
)  # fmt: skip
FORWARD, INVERSE, CONDITION, INTEGRAL = (
    "log-det of forward", "log-det of inverse", "condition number", "integral of the density",
)  # fmt: skip


def randomised(flow, seed=0):
    random = np.random.default_rng(seed)
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    moved = jax.tree.map(lambda a: jnp.asarray(np.asarray(a) + 0.1 * random.normal(size=a.shape), a.dtype), trained)
    return eqx.combine(moved, rest)


def failed(certificate):
    return {row.name for row in certificate.rows if row.ok is False}


def row(certificate, name):
    return next(r for r in certificate.rows if r.name == name)


class Faulty(AbstractBijection):
    """x = 2 z in two coordinates, with one fault of choice."""

    fault: str = eqx.field(static=True)
    shape: tuple[int, ...] = (2,)
    context_shape: tuple[int, ...] | None = None

    def forward_and_log_det(self, z, context=None, *, key=None):
        log_det = jnp.asarray(2 * math.log(2.0), z.dtype)
        if self.fault == "image":
            return jnp.arctanh(jnp.clip(z, -0.99, 0.99)), -jnp.sum(jnp.log1p(-(jnp.clip(z, -0.99, 0.99) ** 2)))
        if self.fault == "gradient":
            z = z + 0.0 * jnp.sqrt(0.0 * z)
        return 2 * z, -log_det if self.fault == "forward sign" else log_det

    def inverse_and_log_det(self, x, context=None, *, key=None):
        log_det = jnp.asarray(-2 * math.log(2.0), x.dtype)
        if self.fault == "image":
            return jnp.tanh(x), jnp.sum(jnp.log1p(-(jnp.tanh(x) ** 2)))
        if self.fault == "inverse":
            return x / 2 + 1e-3, log_det
        if self.fault == "constant":
            return jnp.zeros_like(x), log_det
        return x / 2, -log_det if self.fault == "inverse sign" else log_det


class Squash(AbstractBijection):
    """A matrix of rank one, nearly: x = (z_1, z_1 + small z_2)."""

    small: float = eqx.field(static=True)
    shape: tuple[int, ...] = (2,)
    context_shape: tuple[int, ...] | None = None

    def forward_and_log_det(self, z, context=None, *, key=None):
        return jnp.stack([z[0], z[0] + self.small * z[1]]), jnp.asarray(math.log(self.small), z.dtype)

    def inverse_and_log_det(self, x, context=None, *, key=None):
        return jnp.stack([x[0], (x[1] - x[0]) / self.small]), jnp.asarray(-math.log(self.small), x.dtype)


def flow_of(bijection):
    return pf.Flow(pf.bases.Normal((2,)), bijection)


@pytest.mark.parametrize(
    ("name", "flow"),
    [
        pytest.param("nsf", lambda: pf.nsf(2, key=0, **SIZES), marks=pytest.mark.slow),
        ("real_nvp context", lambda: pf.real_nvp(3, key=0, context_dim=2, **SIZES)),
        ("real_nvp D=1", lambda: pf.real_nvp(1, key=0, **SIZES)),
        ("in units far apart", lambda: _in_units(pf.real_nvp(2, key=0, **SIZES))),
    ],
)
def test_healthy_flows_pass(name, flow):
    flow = randomised(flow())
    certificate = check(flow, key=1)
    assert certificate.ok, f"\n{certificate}"
    assert row(certificate, CONDITION).ok
    dim = flow.shape[0]
    assert row(certificate, INTEGRAL).ok is (None if dim > 2 else True), f"\n{certificate}"
    drawn = "drawn standard normal" in row(certificate, FINITE).sentence
    assert drawn == (flow.context_shape is not None)


def _in_units(flow):
    scaled = Standardise((2,)).filled(np.array([1e3, -1e-6]), np.array([1e5, 1e-7]))
    return pf.Flow(flow.base, Chain([flow.bijection.bijections[0], scaled]))


def test_data_and_contexts_are_used():
    flow = randomised(pf.elementwise_flow(2, key=0, context_dim=1, transformer="affine", width=8, depth=1))
    context = np.linspace(-1, 1, 50)[:, None]
    x = np.asarray(flow.sample(key=0, context=context))
    certificate = check(flow, x, context=context)
    assert certificate.ok, f"\n{certificate}"
    assert row(certificate, DATA).ok
    assert "50 rows of data" in row(certificate, FINITE).sentence
    assert check(flow.given(jnp.ones(1)), x[:5]).ok


def test_a_base_alone_has_fewer_rows():
    certificate = check(pf.bases.Normal((1,), loc=3.0, scale=0.01))
    assert [r.name for r in certificate.rows] == [FINITE, INTEGRAL]
    assert certificate.ok


def test_a_bounded_image_is_no_fault():
    certificate = check(pf.Flow(pf.bases.Normal((1,)), Elementwise(Sigmoid(), (1,))))
    assert certificate.ok, f"\n{certificate}"
    assert "outside the image" in row(certificate, INTEGRAL).sentence


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ("none", set()),
        ("forward sign", {FORWARD}),
        ("inverse sign", {INVERSE, INTEGRAL}),
        ("inverse", {SAMPLES, OUTWARD}),
        ("constant", {SAMPLES, OUTWARD, INVERSE, INTEGRAL}),
        ("gradient", {FORWARD}),
    ],
)
def test_planted_faults_are_named(fault, names):
    certificate = check(flow_of(Faulty(fault)))
    assert failed(certificate) == names, f"\n{certificate}"
    assert certificate.ok == (not names)
    for name in names:
        assert name in certificate.verdict


def test_a_map_that_does_not_reach_the_whole_base_is_named():
    certificate = check(flow_of(Faulty("image")))
    assert INTEGRAL in failed(certificate), f"\n{certificate}"
    reached = math.erf(1 / math.sqrt(2)) ** 2
    assert abs(row(certificate, INTEGRAL).value - (1 - reached)) < 1e-3
    assert "never reached" in row(certificate, INTEGRAL).sentence


def test_a_base_of_wrong_density_is_named():
    class Half(pf.bases.Normal):
        def score_one(self, x, context, key):
            return pf.bases.Normal.score_one(self, x, context, key) - math.log(2.0)

    certificate = check(pf.Flow(Half((2,)), Elementwise(Affine(), (2,))))
    assert failed(certificate) == {INTEGRAL}
    assert abs(row(certificate, INTEGRAL).value - 0.5) < 1e-3


def test_weights_that_are_nan_are_named():
    flow = pf.real_nvp(2, key=0, **SIZES)
    flow = eqx.tree_at(
        lambda f: f.bijection.bijections[0].layers.network.out_bias, flow, replace_fn=lambda a: a * jnp.nan
    )
    certificate = check(flow)
    assert FINITE in failed(certificate)
    assert row(certificate, FINITE).value == 1.0
    assert "NaN weights" in row(certificate, FINITE).sentence
    json.dumps(certificate.to_dict(), allow_nan=False)


def test_a_nearly_singular_map_is_named_by_its_conditioning():
    eps = float(jnp.finfo(jnp.result_type(float)).eps)
    certificate = check(flow_of(Squash(eps)))
    assert failed(certificate) >= {CONDITION}
    assert not failed(certificate) & {FORWARD, INVERSE, SAMPLES}, f"\n{certificate}"
    assert check(flow_of(Squash(1e-2))).ok


def test_data_outside_the_support_are_counted():
    flow = pf.Flow(pf.bases.Normal((1,)), Elementwise(Sigmoid(), (1,)))
    certificate = check(flow, np.array([[0.5], [0.2], [1.5], [0.9]]))
    assert "1 of 4 rows of data not finite" in row(certificate, FINITE).sentence
    assert {FINITE, DATA} <= failed(certificate)


def test_the_same_key_gives_the_same_certificate():
    flow = randomised(pf.real_nvp(2, key=0, **SIZES))
    assert check(flow, key=3) == check(flow, key=jax.random.key(3))
    assert check(flow, key=3) != check(flow, key=4)


def test_table_and_dictionary():
    rows = (
        Row("one", 0.5, 1.0, True, "Fine."),
        Row("another", None, None, None, "Why."),
        Row("x", 2.0, 1.0, False, "Do."),
    )
    certificate = Certificate(rows, "float32")
    assert not certificate.ok
    assert str(certificate).splitlines() == [
        "test        value     bound  result",
        "one      5.00e-01  1.00e+00  ok          Fine.",
        "another         -         -  not tested  Why.",
        "x        2.00e+00  1.00e+00  FAILED      Do.",
        "Not healthy in float32: x failed; not tested: another.",
    ]
    assert certificate.to_dict()["rows"][0]["value"] == 0.5
    assert Certificate(rows[:2], "float64").verdict == (
        "Healthy in float64: 1 tests passed, none failed; not tested: another."
    )


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"x": np.zeros((3, 3))}, ShapeError, r"x: expected shape \(..., 2\), got \(3, 3\)"),
        ({"x": np.array([[0.0, np.nan]])}, DataError, "x: expected finite numbers, got 1"),
        ({"x": np.zeros((0, 2))}, DataError, "x: expected real numbers, got 0 entries"),
        ({"x": np.array([["a", "b"]])}, DataError, "x: expected real numbers"),
        ({"context": np.zeros(2)}, ShapeError, "context: this flow is unconditional"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        check(flow_of(Faulty("none")), **arguments)


def test_wrong_contexts():
    flow = pf.real_nvp(2, key=0, context_dim=1, **SIZES)
    with pytest.raises(ShapeError, match="need their contexts"):
        check(flow, np.zeros((3, 2)))
    with pytest.raises(ShapeError, match="one for each of the 3 rows"):
        check(flow, np.zeros((3, 2)), context=np.zeros((2, 1)))
    with pytest.raises(ShapeError, match=r"context: expected shape \(..., 1\)"):
        check(flow, context=np.zeros(4))
