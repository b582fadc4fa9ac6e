"""Sequences: linear prediction, shared moments, other lengths, and distillation with common outer layers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.case import randomised
from compiling import quickly_compiled
from scipy.stats import multivariate_normal

import pushforward as pf
from pushforward.bases import Logistic, Normal
from pushforward.bijections import Affine, Chain, Companding, Elementwise, LinearPrediction, Standardise
from pushforward.errors import ShapeError
from pushforward.train.common_layers import adopt_outer_layers, with_common, without_common

FRAMES = {"context_dim": 2, "n_frames": 4}
SIZES = {"width": 6, "depth": 4, "cycle": 3, "companding": 4.0, "prediction": 3}


def process(n, dim, seed=0):
    """Rows of the stationary process x_t = 1.2 x_(t-1) - 0.5 x_(t-2) + e_t, e of deviation 2."""
    random, lead = np.random.default_rng(seed), 50
    x, noise = np.zeros((n, dim + lead)), random.normal(0, 2, (n, dim + lead))
    for t in range(2, dim + lead):
        x[:, t] = 1.2 * x[:, t - 1] - 0.5 * x[:, t - 2] + noise[:, t]
    return x[:, lead:]


def perturbed(tree, spread=0.1):
    params, frozen = eqx.partition(tree, pf.trainable(tree))
    return eqx.combine(randomised(params, spread), frozen)


@pytest.fixture(scope="module")
def teacher():
    """A teacher filled from data, whose conditionals depend on all earlier positions."""
    flow = pf.wavenet(dim=40, n_components=2, key=0, **SIZES, **FRAMES)
    x, context = 100 + process(200, 40), np.random.default_rng(1).normal([1.0, 5.0], 2, (200, 4, 2))
    with quickly_compiled():
        flow, _ = pf.fit(flow, x, context=context, key=0, max_epochs=1, progress=False)
    return perturbed(flow)


def test_linear_prediction_estimates_the_process():
    layer = LinearPrediction(400, 4).initialised(process(500, 400))
    np.testing.assert_allclose(layer.coefficients, [1.2, -0.5, 0.0, 0.0], atol=0.03)  # zeros precede a sequence
    assert abs(layer.scale - 2) < 0.03
    assert layer.initialised(process(5, 400, seed=1)) is layer
    longer = LinearPrediction(3, 5).initialised(process(500, 3))
    assert (longer.coefficients[2:] == 0).all()
    silent = LinearPrediction(3, 2).initialised(np.zeros((4, 3)))
    np.testing.assert_array_equal(silent.forward(jnp.ones(3)), 1.0)


def test_linear_prediction_matches_the_gaussian_density():
    """log_prob against SciPy, with the covariance of the filter."""
    with jax.enable_x64(True), quickly_compiled():
        layer = LinearPrediction(6, 2).filled(np.array([1.2, -0.5]), 2.0)
        matrix = np.asarray(jax.vmap(layer.forward)(jnp.eye(6))).T
        x = process(5, 6)
        expected = multivariate_normal(np.zeros(6), matrix @ matrix.T).logpdf(x)
        np.testing.assert_allclose(pf.Flow(Normal((6,)), layer).log_prob(x), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("dim", "order"), [(129, 64), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((300, 3), (500, 100)))]
)
def test_long_sequences_match_the_recursion(dim, order):
    """More than two blocks, the last one not full, against the recursion in NumPy."""
    with jax.enable_x64(True), quickly_compiled():
        layer = LinearPrediction(dim, order).initialised(process(20, dim))
        z, a = np.random.default_rng(0).normal(size=dim), np.asarray(layer.coefficients)
        x = np.zeros(order + dim)
        for t in range(dim):
            x[order + t] = layer.scale * z[t] + a @ x[t : order + t][::-1]
        value, log_det = layer.forward_and_log_det(jnp.asarray(z))
        np.testing.assert_allclose(value, x[order:], rtol=1e-9, atol=1e-11)
        z_again, inverse_log_det = layer.inverse_and_log_det(value)
        np.testing.assert_allclose(z_again, z, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(log_det, -inverse_log_det)
        jacobian = np.asarray(jax.jacobian(layer.forward)(jnp.asarray(z)))
        np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], log_det, rtol=1e-9)


def test_shared_moments_are_over_all_positions():
    x = np.random.default_rng(0).normal([1.0, 5.0], [2.0, 3.0], (50, 7, 2))
    layer = Standardise((7, 2), shared=True).initialised(x)
    np.testing.assert_allclose(layer.mean, np.broadcast_to(x.mean((0, 1)), (7, 2)))
    np.testing.assert_allclose(layer.scale, np.broadcast_to(x.std((0, 1)), (7, 2)))
    reached = Standardise((7, 2), shared=True).initialised(x, reach=0.1)
    assert (reached.scale == reached.scale[0]).all()
    assert (np.quantile(np.abs(x - x.mean((0, 1))), 0.999, axis=(0, 1)) / 0.1 >= 0.999 * reached.scale[0]).all()


@pytest.mark.slow
def test_other_lengths_have_the_same_conditionals(teacher):
    """The first 60 of 100 positions do not depend on the others; frames keep their ten positions."""
    random = np.random.default_rng(2)
    z, context = random.logistic(size=(3, 100)), random.normal([1.0, 5.0], 2, (3, 10, 2))
    with jax.enable_x64(True), quickly_compiled():
        exact = jax.tree.map(lambda leaf: leaf.astype(float) if leaf.dtype == np.float32 else leaf, teacher)
        long, short = pf.of_length(exact, 100), pf.of_length(exact, 60)
        x, cut = (
            np.stack([
                flow.bijection.forward(jnp.asarray(a), flow.embed_context(jnp.asarray(c)))
                for a, c in zip(z[:, :length], context[:, :frames], strict=True)
            ])
            for flow, length, frames in ((long, 100, 10), (short, 60, 6))
        )  # fmt: skip
        np.testing.assert_allclose(x[:, :60], cut, rtol=1e-9)
        assert long.log_prob(x, context).shape == (3,)
        again = pf.of_length(long, 40)
        np.testing.assert_array_equal(
            again.log_prob(x[:, :40], context[:, :4]), exact.log_prob(x[:, :40], context[:, :4])
        )


def test_of_length_keeps_levels_draws_and_context():
    flow = pf.parallel_wavenet(dim=20, n_layers=2, width=4, depth=2, context_dim=3, key=0)
    longer = pf.of_length(pf.Dequantised(flow, 16, n_draws=3), 30)
    assert (longer.shape, longer.levels, longer.n_draws, longer.context_shape) == ((30,), 16, 3, (3,))


REFUSED = {
    "an image": (lambda: pf.Flow(Normal((2, 2)), Elementwise(Affine(), (2, 2))), 9, "flow of sequences"),
    "a coupling": (lambda: pf.nsf(dim=4, n_layers=1, key=0), 9, "treat all positions alike"),
    "a mixture base": (
        lambda: pf.Flow(pf.bases.Uniform((4,)), Elementwise(Companding(1.0), (4,))),
        9,
        "logistic or normal base",
    ),
    "a base of several scales": (
        lambda: pf.Flow(Normal((2,), scale=np.array([1.0, 2.0])), Elementwise(Companding(1.0), (2,))),
        9,
        "one scale",
    ),
    "a part of a frame": (lambda: pf.wavenet(dim=40, key=0, width=2, depth=2, **FRAMES), 51, "frames of 10"),
    "fewer positions than a dilation": (lambda: pf.wavenet(dim=40, key=0, width=2, depth=5), 16, "more than 16"),
    "a noise flow": (
        lambda: pf.Dequantised(Normal((2, 2, 2)), 4, noise=pf.dequantisation_flow((2, 2, 2), levels=4, key=0)),
        9,
        "uniform noise",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_flows_of_a_fixed_length_are_refused(name):
    build, dim, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        pf.of_length(build(), dim)


def test_a_network_in_another_order_or_with_other_channels_is_refused(teacher):
    network = teacher.bijection.bijections[0].layer(0).network
    with pytest.raises(ShapeError, match="channels"):
        network.of_length(50, (5, 3))
    reversed_network = pf.networks.CausalConvolution((3, 2, 1, 0), (2, 4), width=2, depth=1, key=jax.random.key(0))
    flow = pf.Flow(Logistic((4,)), pf.bijections.MaskedAutoregressive("affine", reversed_network))
    with pytest.raises(ValueError, match="natural order"):
        pf.of_length(flow, 9)


def test_a_student_adopts_the_outer_layers_of_the_teacher(teacher):
    student = pf.parallel_wavenet(dim=40, n_layers=2, key=1, **SIZES, **FRAMES)
    filled = adopt_outer_layers(teacher, student)
    np.testing.assert_array_equal(filled.context_scaling.mean, teacher.context_scaling.mean)
    inner_teacher, inner, common = without_common(teacher, filled)
    assert [type(layer) for layer in common.bijections] == [Standardise, Elementwise, LinearPrediction, Standardise]
    assert len(inner.bijection.bijections) == len(inner_teacher.bijection.bijections) == 1
    assert eqx.tree_equal(with_common(inner, common), filled)


def test_different_or_trained_layers_are_not_common(teacher):
    other = pf.parallel_wavenet(dim=40, n_layers=2, key=1, **{**SIZES, "companding": 3.0}, **FRAMES)
    assert len(without_common(teacher, adopt_outer_layers(teacher, other))[2].bijections) == 2
    assert without_common(Normal((2,)), other)[2] is None
    trained = pf.Flow(Normal((2,)), Chain([Elementwise(Affine(), (2,)), Elementwise(Affine(), (2,))]))
    assert without_common(trained, trained)[2] is None
    spline = pf.nsf(dim=2, n_layers=1, key=0)
    assert adopt_outer_layers(pf.maf(dim=2, key=0), spline) is spline


@pytest.mark.slow
def test_distillation_of_sequences_with_a_penalty_of_samples_and_contexts(teacher):
    """The penalty takes samples in the data's units; n_next works with companding and prediction outside."""
    student = pf.parallel_wavenet(dim=40, n_layers=2, key=1, **SIZES, **FRAMES)
    context, shapes = np.random.default_rng(3).normal([1.0, 5.0], 2, (64, 4, 2)), []

    def penalty(x, frames):
        shapes.append((x.shape, frames.shape))
        return 0.1 * jnp.mean(jnp.tanh((x - 100) / 10) ** 2) + 0.0 * jnp.sum(frames)

    with quickly_compiled(), pytest.warns(UserWarning, match="not faithful"):
        student, fidelity = pf.distill(
            teacher, student, key=0, context=context, steps=100, batch_size=16, learning_rate=0.02, forward=0,
            annealing=0, n_next=4, penalty=penalty, n_fidelity=100, tolerance=1e-3, progress=False,
        )  # fmt: skip
    assert set(shapes) == {((16, 40), (16, 4, 2))}
    assert fidelity.history.reverse_kl[-1] < 0.5 * fidelity.history.reverse_kl[0]
    assert np.isfinite(student.log_prob(student.sample((), key=1, context=context), context)).all()


def test_a_penalty_of_several_numbers_is_refused(teacher):
    student = pf.parallel_wavenet(dim=40, n_layers=2, key=1, **SIZES, **FRAMES)
    context = np.zeros((16, 4, 2))
    with pytest.raises(ShapeError, match=r"a batch \(16, 40\) and \(16, 4, 2\), got shape \(16,\)"):
        pf.distill(
            teacher, student, key=0, context=context, batch_size=16, forward=0.5, annealing=0,
            penalty=lambda x, frames: x[:, 0], progress=False,
        )  # fmt: skip
