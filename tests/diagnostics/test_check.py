"""The health certificate: healthy flows pass, and each planted fault fails in its row."""

import json
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quickly_compiled
from pages import TECHNICAL
from sampling import quick_few
from sick_flows import BUILDERS, SMALL, Half, healthy, nan_weights, randomised, rows, unstable_in_float32

import pushforward as pf
from pushforward.bijections import (
    Affine,
    Chain,
    ColumnMaps,
    Elementwise,
    Exp,
    Inverse,
    Repeat,
    Sigmoid,
    Standardise,
    Tanh,
)
from pushforward.core.bijection import AbstractBijection
from pushforward.core.fields import cast
from pushforward.core.named_rows import NamedRows
from pushforward.diagnostics import Certificate, Row, check, locate_non_finite
from pushforward.diagnostics.bridge import bridge_row
from pushforward.diagnostics.calibration import (
    FALSE_ALARM,
    band,
    conditional_row,
    data_row,
    distances,
    latent_row,
    uniform_distances,
)
from pushforward.diagnostics.gap import gap_row
from pushforward.diagnostics.inputs import Columns
from pushforward.diagnostics.layers import evaluate_layers, layer_paths
from pushforward.diagnostics.tails import reach_row, tails_row
from pushforward.errors import DataError, ShapeError

SIZES = SMALL
FINITE, SAMPLES, OUTWARD, DATA = (
    "finite values", "round trip of samples", "round trip 3 sigma outward", "round trip of data",
)  # fmt: skip
FORWARD, INVERSE, CONDITION, INTEGRAL = (
    "log-det of forward", "log-det of inverse", "condition number", "integral of the density",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _compile_quickly():
    with quickly_compiled():
        yield


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
        if self.fault == "range":
            return jnp.arctanh(jnp.clip(z, -0.99, 0.99)), -jnp.sum(jnp.log1p(-(jnp.clip(z, -0.99, 0.99) ** 2)))
        if self.fault == "gradient":
            z = z + 0.0 * jnp.sqrt(0.0 * z)
        return 2 * z, -log_det if self.fault == "forward sign" else log_det

    def inverse_and_log_det(self, x, context=None, *, key=None):
        log_det = jnp.asarray(-2 * math.log(2.0), x.dtype)
        if self.fault == "range":
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
        pytest.param("context", lambda: pf.real_nvp(3, key=0, context_dim=2, **SIZES), marks=pytest.mark.slow),
        pytest.param("D=1", lambda: pf.real_nvp(1, key=0, **SIZES), marks=pytest.mark.slow),
        ("in units far apart", lambda: _in_units(pf.real_nvp(2, key=0, **SIZES))),
    ],
)
def test_healthy_flows_pass(name, flow):
    flow = randomised(flow())
    certificate = check(flow, key=1)
    assert certificate.ok, f"\n{certificate}"
    assert row(certificate, CONDITION).ok
    assert row(certificate, INTEGRAL).ok, f"\n{certificate}"
    has_drawn_contexts = "drawn standard normal" in row(certificate, FINITE).message
    assert has_drawn_contexts == (flow.context_shape is not None)


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
    assert "50 rows of data" in row(certificate, FINITE).message
    assert check(flow.given(jnp.ones(1)), x[:5]).ok


def test_a_base_has_fewer_rows():
    certificate = check(pf.bases.Normal((1,), loc=3.0, scale=0.01))
    assert [r.name for r in certificate.rows] == [FINITE, "float32 against float64", INTEGRAL]
    assert certificate.ok


def test_a_bounded_support_is_no_fault():
    certificate = check(pf.Flow(pf.bases.Normal((1,)), Elementwise(Sigmoid(), (1,))))
    assert certificate.ok, f"\n{certificate}"
    assert "outside the support" in row(certificate, INTEGRAL).message


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


def test_a_map_that_misses_part_of_the_base_is_named():
    certificate = check(flow_of(Faulty("range")))
    assert INTEGRAL in failed(certificate), f"\n{certificate}"
    reached = math.erf(1 / math.sqrt(2)) ** 2
    assert abs(row(certificate, INTEGRAL).value - (1 - reached)) < 1e-3
    assert "never reached" in row(certificate, INTEGRAL).fix


def test_a_base_of_wrong_density_is_named():
    certificate = check(pf.Flow(Half((2,)), Elementwise(Affine(), (2,))))
    assert failed(certificate) == {INTEGRAL}
    assert abs(row(certificate, INTEGRAL).value - 0.5) < 1e-3


def test_a_nearly_singular_map_is_named_by_its_conditioning():
    eps = float(jnp.finfo(jnp.result_type(float)).eps)
    certificate = check(flow_of(Squash(eps)))
    assert failed(certificate) >= {CONDITION}
    assert not failed(certificate) & {FORWARD, INVERSE, SAMPLES}, f"\n{certificate}"
    assert check(flow_of(Squash(1e-2))).ok


def test_data_outside_the_support_are_counted():
    flow = pf.Flow(pf.bases.Normal((1,)), Elementwise(Sigmoid(), (1,)))
    certificate = check(flow, np.array([[0.5], [0.2], [1.5], [0.9]]))
    assert "1 of 4 rows of data not finite" in row(certificate, FINITE).message
    assert {FINITE, DATA} <= failed(certificate)


def test_rows_of_zero_density_are_reported_by_number():
    flow = pf.Flow(pf.bases.Normal((2,)), Chain([Elementwise(Affine(), (2,)), ColumnMaps(("positive", "real"))]))
    x = np.abs(rows(300))
    x[7, 0] = -5.0
    certificate = check(flow, NamedRows(x, ["a", "b"], np.arange(300) + 1))
    assert "1 of 300 rows of data not finite (first row 8)" in row(certificate, FINITE).message
    assert "rows of data lie outside the support" in certificate.verdict
    assert "weights" not in certificate.verdict


@pytest.mark.slow
def test_the_same_key_gives_the_same_certificate():
    flow = randomised(pf.real_nvp(2, key=0, **SIZES))
    assert check(flow, key=3) == check(flow, key=jax.random.key(3))
    assert check(flow, key=3) != check(flow, key=4)


def test_table_and_dictionary():
    rows = (
        Row("one", 0.5, 1.0, True, "Fine."),
        Row("another", None, None, None, "Why."),
        Row("x", 2.0, math.inf, False, "What it is.", "the thing is broken", "Do this."),
        Row("y", math.nan, 1.0, False, "long " * 30),
    )
    certificate = Certificate(rows, "float32")
    assert not certificate.ok
    assert str(certificate).splitlines() == [
        "Do not use this model: the thing is broken.",
        "",
        "test        value     bound  result",
        "one      5.00e-01  1.00e+00  ok          Fine.",
        "another         -         -  not tested  Why.",
        "x        2.00e+00       inf  FAILED      What it is.",
        "    Do this.",
        "y             nan  1.00e+00  FAILED",
        "    " + " ".join(["long"] * 19),
        "    " + " ".join(["long"] * 11),
        "",
        "Not healthy in float32: the thing is broken (x); y failed; not tested: another. First: Do this.",
    ]
    assert Certificate(rows[:2], "float64").verdict == (
        "Healthy in float64: 1 tests passed, none failed; not tested: another."
    )
    plain = json.loads(json.dumps(certificate.to_dict(), allow_nan=False))
    assert (plain["rows"][0]["value"], plain["rows"][2]["bound"], plain["rows"][3]["value"]) == (0.5, None, None)
    again = Certificate.from_dict(plain)
    assert again.verdict == certificate.verdict
    assert again.to_dict() == certificate.to_dict()


def test_a_verdict_names_three_faults_and_counts_the_others():
    rows = tuple(Row(f"test {n}", 2.0, 1.0, False, "", f"fault {n // 2}") for n in range(10))
    verdict = Certificate(rows, "float32").verdict
    assert verdict == (
        "Not healthy in float32: fault 0 (test 0, test 1); fault 1 (test 2, test 3); fault 2 (test 4, test 5); and 2 "
        "more."
    )


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {},
        {"rows": [], "dtype": 1},
        {"rows": [{"name": "x"}], "dtype": "float32"},
        {"rows": [{"name": "x", "value": "1", "bound": 1, "ok": True, "message": ""}], "dtype": "float32"},
        {"rows": [{"name": "x", "value": 1, "bound": 1, "ok": 1, "message": ""}], "dtype": "float32"},
        {"rows": [{"name": "x", "value": 1, "bound": 1, "ok": True, "message": "", "more": 1}], "dtype": "float32"},
    ],
)
def test_from_dict_refuses_what_is_no_certificate(plain):
    with pytest.raises(DataError, match="certificate: expected what"):
        Certificate.from_dict(plain)


def test_from_dict_reads_old_keys():
    row = {"name": "x", "value": 2.0, "bound": 1.0, "ok": False, "sentence": "Twice the bound.", "remedy": "Fit again."}
    certificate = Certificate.from_dict({"rows": [row], "dtype": "float32"})
    assert certificate.verdict == "Not healthy in float32: x failed. First: Fit again."
    assert certificate.rows[0].message == "Twice the bound."


def test_from_dict_reads_rows_without_fault_and_fix():
    row = {"name": "x", "value": 2.0, "bound": 1.0, "ok": False, "message": "."}
    certificate = Certificate.from_dict({"rows": [row], "dtype": "float32"})
    assert certificate.verdict == "Not healthy in float32: x failed."


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": np.zeros((3, 3))}, ShapeError, r"x: expected shape \(..., 2\), got \(3, 3\)"),
        ({"x": np.array([[0.0, np.nan]])}, DataError, "x: expected finite numbers, got 1"),
        ({"x": np.zeros((0, 2))}, DataError, "x: expected real numbers, got 0 entries"),
        ({"x": np.array([["a", "b"]])}, DataError, "x: expected real numbers"),
        ({"context": np.zeros(2)}, ShapeError, "context: this flow is unconditional"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        check(flow_of(Faulty("none")), **arguments)


def test_wrong_contexts():
    flow = pf.real_nvp(2, key=0, context_dim=1, **SIZES)
    with pytest.raises(ShapeError, match="need their contexts"):
        check(flow, np.zeros((3, 2)))
    with pytest.raises(ShapeError, match="one for each of the 3 rows"):
        check(flow, np.zeros((3, 2)), context=np.zeros((2, 1)))
    with pytest.raises(ShapeError, match=r"context: expected shape \(..., 1\)"):
        check(flow, context=np.zeros(4))


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=pytest.mark.slow) if name == "part of the line" else name for name in BUILDERS]
)
def test_a_sick_flow_is_named(fault):
    builder, name, message = BUILDERS[fault]
    certificate = check(**builder(), key=1)
    assert name in failed(certificate), f"\n{certificate}"
    assert message in certificate.verdict, f"\n{certificate}"
    assert row(certificate, name).fix
    assert not TECHNICAL.search(" ".join([certificate.summary, *(" ".join(part) for part in certificate.findings)]))
    assert max(map(len, str(certificate).splitlines())) <= 100
    json.dumps(certificate.to_dict(), allow_nan=False)


def test_a_healthy_flow_passes_every_test():
    certificate = check(**healthy(), key=1)
    assert [r.name for r in certificate.rows if not r.ok] == [], f"\n{certificate}"
    assert len(certificate.rows) == 20


@pytest.mark.slow
def test_a_flow_unstable_in_float32_passes_in_float64():
    arguments = unstable_in_float32()
    with jax.enable_x64(True):
        certificate = check(cast(arguments["flow"], np.float64), arguments["x"])
    assert certificate.ok, f"\n{certificate}"
    assert certificate.dtype == "float64"


class TestLocateNonFinite:
    """The first non-finite parameter and layers."""

    def test_the_parameter_of_a_stacked_layer(self):
        result = locate_non_finite(**nan_weights())
        path = "bijection.bijections[0].layers.network.out_bias (layer 2 of 2)"
        assert result
        assert result.parameter == path
        assert result.inverse.startswith("bijection.bijections[0] layer 2 of 2 (Coupling), at 50 of 50 rows")
        assert f"the parameter {path}" in str(result)

    def test_a_layer_that_overflows_in_one_direction(self):
        flow = pf.Flow(pf.bases.Normal((2,), scale=200.0), Elementwise(Exp(), (2,)))
        result = locate_non_finite(flow, np.ones((4, 2)))
        assert result.forward.startswith("bijection (Elementwise), at")  # e^200 is beyond float32
        assert (result.parameter, result.inverse) == ("", "")

    def test_a_conditional_flow_without_contexts(self):
        flow = pf.elementwise_flow(2, key=0, context_dim=1, transformer="affine", width=8, depth=1)
        flow = jax.tree.map(lambda leaf, trained: leaf * jnp.nan if trained else leaf, flow, pf.trainable(flow))
        assert "(Conditional), at 256 of 256 rows" in locate_non_finite(flow).inverse

    def test_data_outside_the_domain(self):
        flow = pf.Flow(pf.bases.Normal((2,)), Chain([Elementwise(Exp(), (2,)), Elementwise(Affine(), (2,))]))
        result = locate_non_finite(flow, np.array([[1.0, 1.0], [-1.0, 1.0]]))
        # the point has no preimage: its latent is 0 and its log-determinant is not finite
        assert result.inverse == "the log-determinant of bijection.bijections[0] (Elementwise), at 1 of 2 rows"
        assert result.forward == ""

    def test_a_finite_flow_gives_a_falsy_result(self):
        result = locate_non_finite(pf.real_nvp(3, key=0, **SIZES))
        assert not result
        assert str(result) == "nothing"
        assert not locate_non_finite(pf.bases.Normal((2,)))


@pytest.mark.slow
@pytest.mark.parametrize("factor", [300.0, 3000.0])
def test_rounding_between_layers_that_undo_each_other_is_no_fault(factor, monkeypatch):
    """One layer scales a direction, the next one undoes it: the product is the identity up to large rounding errors."""
    random = np.random.default_rng(0)
    rotations = [np.linalg.qr(random.normal(size=(4, 4)))[0] for _ in range(2)]
    first = rotations[0] * np.array([1.0, factor, 1.0, 1.0]) @ rotations[1]
    layers = [
        eqx.tree_at(lambda layer: layer.weight, pf.bijections.Dense(4), jnp.asarray(matrix - np.eye(4), jnp.float32))
        for matrix in (first, np.linalg.inv(first))
    ]
    flow = pf.Flow(pf.bases.Normal((4,)), pf.bijections.Chain(layers))
    names = ("round trip of samples", "round trip 3 sigma outward")
    assert all(row.ok for row in pf.check(flow, key=0).rows if row.name in names)
    monkeypatch.setattr("pushforward.diagnostics.maps.rounded_by_layers", lambda flow, points, *_, **__: 0 * points)
    assert not all(row.ok for row in pf.check(flow, key=0).rows if row.name in names)


@pytest.mark.slow
def test_evaluating_the_layers_gives_the_flows_map():
    stack = Repeat([Elementwise(Affine(shift=shift, scale=0.5), (3,)) for shift in (1.0, -2.0)])
    bijection = Chain([Inverse(Chain([Elementwise(Tanh(), (3,)), stack])), Elementwise(Affine(scale=2.0), (3,))])
    flow = pf.Flow(pf.bases.Normal((3,)), bijection)
    assert [layer.path for layer in layer_paths(flow)] == [
        "bijection.bijections[0].bijection.bijections[1] layer 2 of 2 (Elementwise)",
        "bijection.bijections[0].bijection.bijections[1] layer 1 of 2 (Elementwise)",
        "bijection.bijections[0].bijection.bijections[0] (Elementwise)",
        "bijection.bijections[1] (Elementwise)",
    ]
    assert [layer.inverted for layer in layer_paths(flow)] == [True, True, True, False]
    latents = 0.05 * rows(5, 3) - 1.5  # within what tanh and the two affine maps reach
    data = np.asarray(jax.vmap(bijection.forward)(jnp.asarray(latents, jnp.float32)))
    assert np.isfinite(data).all()
    for inverse, start, end in ((True, data, latents), (False, latents, data)):
        method = bijection.inverse_and_log_det if inverse else bijection.forward_and_log_det
        expected = jax.vmap(method)(jnp.asarray(start, jnp.float32))[1]
        parts = list(evaluate_layers(flow, start, None, inverse=inverse))
        np.testing.assert_allclose(parts[-1].outputs, end, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(sum(part.log_dets for part in parts), expected, rtol=1e-4, atol=1e-5)


class TestIntegralBySamples:
    """Bennett's ratio: five standard errors, a false alarm in 2e6."""

    @pytest.mark.parametrize("factor", [1.0, 1.2, 0.5])
    def test_a_wrong_normalisation_is_detected(self, factor):
        class Scaled(pf.bases.Normal):
            def log_prob_one(self, x, context, key):
                return pf.bases.Normal.log_prob_one(self, x, context, key) + math.log(factor)

        result = bridge_row("integral", Scaled((4,), scale=3.0), None, np.random.default_rng(0))
        assert result.ok is (factor == 1.0)
        assert abs(result.value - abs(math.log(factor))) < 0.05

    def test_a_mixture_of_separate_modes_passes(self):
        modes = [pf.bases.Normal((3,), loc=where, scale=0.3) for where in (-3.0, 0.0, 4.0)]
        result = bridge_row("integral", pf.bases.Mixture(modes), None, np.random.default_rng(0))
        assert result.ok, result.message

    def test_too_many_dimensions_are_not_tested(self):
        assert bridge_row("integral", pf.bases.Normal((65,)), None, np.random.default_rng(0)).ok is None


class TestCalibration:
    """Columns, random directions, contexts and latents, with a false-alarm rate below 1e-6."""

    def test_distances_are_kolmogorovs(self):
        a, b = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[1.5], [2.5]])
        assert distances(a, b) == [0.5]
        assert uniform_distances(np.array([[0.25], [0.5]])) == [0.5]

    def test_the_band_holds_for_a_true_model(self):
        """A band of a quarter of the width is exceeded in some of 200 repetitions."""
        random = np.random.default_rng(0)
        result = [distances(random.normal(size=(300, 4)), random.normal(size=(300, 4))).max() for _ in range(200)]
        assert max(result) < band(4, 300, 300)
        assert max(result) > 0.25 * band(4, 300, 300)
        assert FALSE_ALARM == 1e-6

    def test_the_wrong_column_is_named(self):
        random = np.random.default_rng(0)
        x, samples = random.normal(size=(2, 2000, 3))
        assert data_row(x, samples, Columns(None, (3,)), random).ok
        x[:, 1] += 0.5
        result = data_row(x, samples, Columns(NamedRows(x, ["a", "b", "c"]), (3,)), random)
        assert result.ok is False
        assert "column 'b'" in result.fault

    def test_dependence_is_detected_in_random_directions(self):
        random = np.random.default_rng(0)
        x, samples = random.normal(size=(2, 2000, 2))
        x[:, 1] = 0.95 * x[:, 0] + math.sqrt(1 - 0.95**2) * x[:, 1]
        result = data_row(x, samples, Columns(None, (2,)), random)
        assert result.ok is False
        assert "random direction" in result.message

    @pytest.mark.parametrize("knows", [True, False])
    def test_a_flow_that_ignores_its_context_is_detected(self, knows):
        """The marginal of the data is right either way."""
        random = np.random.default_rng(0)
        c = random.normal(size=(2000, 1))
        x = c + 0.5 * random.normal(size=(2000, 1))
        centres = c[:, None] if knows else random.normal(size=(2000, 15, 1))
        samples = centres + 0.5 * random.normal(size=(2000, 15, 1))
        result = conditional_row(x, samples, c, Columns(None, (1,)), random)
        assert result.ok is knows, result.message

    def test_latents_of_the_wrong_scale_are_detected(self):
        random = np.random.default_rng(0)
        z, samples = random.normal(size=(2000, 4)), random.normal(size=(20_000, 4))
        assert latent_row(z, samples, z, Columns(None, z.shape[1:])).ok
        far, near = (latent_row(scale * z, samples, z, Columns(None, z.shape[1:])) for scale in (1.3, 0.7))
        assert (far.ok, near.ok) == (False, False)
        assert "over-fitted" not in far.message
        assert "over-fitted" in near.message
        assert near.fix.startswith("Check rows that it was not trained on.")

    def test_a_conditional_flow_passes_with_its_contexts_only(self):
        flow = pf.elementwise_flow(2, key=0, context_dim=1, transformer="affine", width=8, depth=1)
        flow, c = randomised(flow, size=0.5), rows(1500, 1)
        x = np.asarray(flow.sample(key=0, context=c))
        assert check(flow, x, context=c).ok
        wrong = check(flow, x, context=c[::-1])
        assert {"calibration of data", "calibration of latents"} <= failed(wrong), f"\n{wrong}"


class TestTails:
    """Columns with heavier tails than the flow's samples, and rows beyond the base."""

    def test_a_heavy_column_is_named(self):
        random = np.random.default_rng(0)
        x, samples = random.normal(size=(2, 5000, 3))
        assert tails_row(x, samples, Columns(None, (3,))).ok
        x[:, 2] = random.standard_t(1.5, 5000)
        result = tails_row(x, samples, Columns(None, (3,)))
        assert result.ok is False
        assert "column 2" in result.fault
        assert "StudentT" in result.fix

    def test_tails_as_heavy_as_those_of_the_samples_pass(self):
        x, samples = np.random.default_rng(0).standard_t(1.5, (2, 5000, 2))
        assert tails_row(x, samples, Columns(None, (2,))).ok

    def test_far_and_improbable_rows_are_not_added_up(self):
        """Six rows of either kind are allowed; here are six of each."""
        random = np.random.default_rng(0)
        z, samples = random.normal(size=(1000, 2)), random.normal(size=(10_000, 2))
        log_probs = -(z**2).sum(1)
        z[100:106, 1] = 8.0
        log_probs[200:206] = -1000.0
        result = reach_row(z, log_probs, samples, -(samples**2).sum(1), np.arange(1000), z, Columns(None, (2,)))
        assert (result.ok, result.value) == (True, 0.006)

    @pytest.mark.parametrize(("count", "ok"), [(5, True), (20, False)])
    def test_rows_beyond_the_base_are_reported_by_number(self, count, ok):
        random = np.random.default_rng(0)
        z, samples = random.normal(size=(1000, 2)), random.normal(size=(10_000, 2))
        z[100 : 100 + count, 1] = 8.0 + np.arange(count)
        numbers = np.arange(1000) + 7
        result = reach_row(z, -(z**2).sum(1), samples, -(samples**2).sum(1), numbers, z, Columns(None, (2,)))
        assert result.ok is ok
        assert f"at row {107 + count - 1}" in result.message
        assert result.value == count / 1000


def test_the_gap_between_training_and_other_rows():
    random = np.random.default_rng(0)
    train, test = random.normal(size=(2, 1000))
    assert gap_row(train, test, 2).ok
    assert gap_row(train + 0.6, test, 2).ok is False
    assert gap_row(train + 0.6, test, 20).ok  # a twentieth of a nat for each dimension
    assert gap_row(train, test + 9.0, 2).ok  # a higher log-likelihood of held-out rows is no fault


def test_messages_use_column_names():
    flow = pf.Flow(pf.bases.Normal((2,)), Elementwise(Affine(), (2,)))
    x = rows(1000)
    x[:, 1] *= 2
    certificate = check(flow, NamedRows(x, ["height", "weight"]))
    assert "column 'weight' of the data is not distributed as in the flow" in certificate.verdict


def test_rounded_columns_are_dequantised_and_named():
    flow = pf.Discretised(pf.bases.Normal((2,), scale=3.0), steps=[1.0, 0.0])
    x = rows(1000) * 3
    x[:, 0] = np.round(x[:, 0])
    train = np.stack([np.round(3 * rows(100, 1, 1)[:, 0]), 3 * rows(100, 1, 2)[:, 0]], 1)
    certificate = check(flow, NamedRows(x, ["age", "height"]), train=train)
    assert certificate.ok, f"\n{certificate}"
    assert certificate.rows[0].name == "finite bounds of masses"
    assert "column 'age'" in str(check(flow, NamedRows(x + np.array([9, 0]), ["age", "height"])).verdict)


@pytest.mark.parametrize("steps", [None, [1.0, 0.0]])
def test_messages_use_the_callers_row_numbers(steps):
    flow = pf.Flow(pf.bases.Normal((2,), scale=3.0), Elementwise(Affine(), (2,)))
    x = np.round(rows(300) * 3)
    x[:15, 1] = 40.0 + np.arange(15)
    table = NamedRows(x, ["age", "height"], np.arange(300) + 1000)
    certificate = check(flow if steps is None else pf.Discretised(flow, steps=steps), table)
    assert "at row 1014, 1013, 1012" in str(certificate)


def on_a_circle(dim=2, **faults):
    """Hours of a day, cut at 15, and dim - 1 real columns."""
    maps = ColumnMaps(("circular", *["real"] * (dim - 1)), lower=0.0, upper=24.0, centre=15.0)
    layers = [Elementwise(Affine(shift=1.0, scale=0.8), (dim,)), maps]
    return pf.Flow(pf.bases.Normal((dim,), **faults), Chain(layers))


@pytest.mark.parametrize("dim", quick_few([1, 2, 3], 2))
def test_circular_columns_are_tested_over_one_period(dim):
    """For rows in any period, beyond the cut, and at it."""
    flow = on_a_circle(dim)
    x = np.asarray(flow.sample(3000, key=7), np.float64)
    x[::3, 0] += 24.0
    x[1::3, 0] -= 240.0
    x[0, 0] = 15.0
    certificate = check(flow, x, train=np.asarray(flow.sample(500, key=8), np.float64))
    assert certificate.ok, f"\n{certificate}"
    assert "copies of training rows" in failed(check(flow, x, train=x[:500]))
    assert all(row.ok for row in certificate.rows if row.name.startswith(("round trip", "integral")))
    shifted = x + np.eye(dim)[0] * 7.0
    assert "calibration of data" in failed(check(flow, shifted))


class WrongCircle(ColumnMaps):
    """Log-determinants one per cent too large, or an inverse with a small shift."""

    fault: str = eqx.field(static=True, default="")

    def _apply(self, value, inverse):
        out, log_det = super()._apply(value, inverse)
        if self.fault == "log-det":
            return out, 1.01 * log_det
        return out + (0.01 if self.fault == "inverse" and inverse else 0.0), log_det


@pytest.mark.parametrize("fault", quick_few(["", "log-det", "inverse"], "log-det"))
def test_faults_of_a_circular_layer_are_detected(fault):
    wrong = WrongCircle(("circular", "positive"), upper=24.0, centre=15.0)
    object.__setattr__(wrong, "fault", fault)
    flow = pf.Flow(pf.bases.Normal((2,)), Chain([Elementwise(Affine(), (2,)), wrong]))
    x = np.asarray(flow.sample(500, key=3), np.float64)
    x[3, 1] = -1.0  # outside the support of another column
    for data in (None, x):
        result = row(check(flow, data), "circular columns")
        assert result.ok is (fault == ""), f"{result}"


@pytest.mark.slow
def test_a_row_at_the_cut_is_no_fault_in_float64():
    """Nor is a second column far from the origin: only circular columns are compared."""
    maps = ColumnMaps(("circular", "real"), upper=24.0, centre=[15.0, 1e13])
    with jax.enable_x64(True):
        flow = cast(pf.Flow(pf.bases.Normal((2,)), Chain([Elementwise(Affine(), (2,)), maps])), np.float64)
        x = np.array(flow.sample(100, key=1), np.float64)
        x[:3, 0] = 15.0, 39.0, np.nextafter(15.0, 0.0)
        assert row(check(flow, x), "circular columns").ok


@pytest.mark.slow
def test_a_circular_column_hides_no_fault():
    layers = [Elementwise(Affine(), (2,)), Faulty("inverse sign"), ColumnMaps(("circular", "real"), upper=24.0)]
    assert INTEGRAL in failed(check(pf.Flow(pf.bases.Normal((2,)), Chain(layers))))


@pytest.mark.slow
def test_both_ends_of_a_rounded_circular_column_are_one_value():
    """Hour 24 is hour 0."""
    flow = pf.Discretised(on_a_circle(), steps=[1.0, 0.0], period=[24.0, 0.0])
    samples = np.asarray(flow.sample(2000, key=0), np.float64)
    assert set(samples[:, 0]) <= set(range(24))
    assert 0.0 in samples[:, 0]
    assert check(flow, samples).ok


def test_train_needs_held_out_rows():
    flow = flow_of(Faulty("none"))
    with pytest.raises(ShapeError, match="x: expected held-out rows"):
        check(flow, train=rows(10))
    with pytest.raises(ShapeError, match="train_context: got contexts of no training rows"):
        check(flow, rows(10), train_context=rows(10))
    with pytest.raises(ShapeError, match=r"train: expected shape"):
        check(flow, rows(10), train=rows(10, 3))


@pytest.mark.slow
def test_an_over_fitted_flow_is_named():
    x = rows(1060, 3)
    flow, _ = pf.fit(pf.nsf(3, key=0), x[:60], key=0, validation=0, max_epochs=100, ema=None, progress=False)
    certificate = check(flow, x[60:], train=x[:60])
    assert "over-fitted" in certificate.verdict, f"\n{certificate}"
