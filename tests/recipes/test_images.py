"""Image flows end to end: networks, initialisation from data, dequantisation, recipes, data sets."""

import gzip
import math
import struct

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.case import randomised
from compiling import quickly_compiled
from sampling import quick_few

import pushforward as pf
from pushforward import datasets
from pushforward.bijections import Chain, ImageCoupling, PixelSigmoid, Standardise
from pushforward.core.state import initialise_layers
from pushforward.errors import DataError, ShapeError
from pushforward.networks import ConvNet
from pushforward.numerics.im2col import col2im, convolve, im2col, square
from pushforward.persistence import load, save
from pushforward.recipes import IMAGE_RECIPES

KEY = jax.random.key(0)


def images(n, shape, levels, seed=0):
    """Correlated integers: bright at one side or the other; the first element is constant."""
    random = np.random.default_rng(seed)
    slope = random.choice([-1.0, 1.0], size=(n, 1, 1, 1))
    rows = np.linspace(-1, 1, shape[0])[None, :, None, None]
    x = (levels - 1) * (0.5 + 0.3 * slope * rows) + 0.05 * levels * random.normal(size=(n, *shape))
    x = np.clip(np.round(x), 0, levels - 1)
    x[:, 0, 0, 0] = 0
    return x


class TestConvolutions:
    @pytest.mark.parametrize(("side", "n_in", "n_out"), [(1, 2, 3), (3, 2, 5), (3, 5, 2), (5, 3, 3)])
    def test_convolve_and_derivatives_match_xla(self, side, n_in, n_out):
        random = np.random.default_rng(0)
        x, kernel = (jnp.asarray(random.normal(size=s)) for s in ((2, 4, 5, n_in), (side, side, n_in, n_out)))

        def reference(x, kernel):
            options = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
            return jax.lax.conv_general_dilated(x[None], kernel, (1, 1), "SAME", **options)[0]

        def figures(fn):
            value, pull = jax.vjp(jax.vmap(fn, (0, None)), x, kernel)
            tangent = jax.jvp(lambda x: jax.vmap(fn, (0, None))(x, kernel), (x,), (jnp.cos(x),))[1]
            return value, *pull(jnp.sin(value)), tangent

        for value, expected in zip(figures(convolve), figures(reference), strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("is_periodic", [False, True])
    def test_col2im_is_the_transpose_of_im2col(self, is_periodic):
        random = np.random.default_rng(0)
        x, y = (jnp.asarray(random.normal(size=s)) for s in ((4, 3, 2), (4, 3, 18)))
        options = {"offsets": square(3), "is_periodic": is_periodic}
        np.testing.assert_allclose(jnp.sum(im2col(x, **options) * y), jnp.sum(x * col2im(y, **options)), rtol=1e-4)

    def test_network_depends_on_its_context(self):
        for options, context in (({"context_size": 2}, (2,)), ({"context_channels": 2}, (4, 4, 2))):
            network = ConvNet(1, 3, width=4, depth=2, key=KEY, **options)
            network = jax.tree.map(lambda leaf: leaf + 0.1, network)
            x = jnp.ones((4, 4, 1))
            assert network(x, jnp.zeros(context)).shape == (4, 4, 3)
            assert not jnp.allclose(network(x, jnp.zeros(context)), network(x, jnp.ones(context)))
            with pytest.raises(ShapeError, match="context"):
                network(x)

    def test_refusals(self):
        with pytest.raises(ValueError, match="kernel_sizes"):
            ConvNet(1, 1, width=2, depth=1, kernel_sizes=(3, 2), key=KEY)
        with pytest.raises(ShapeError, match="image of shape"):
            ConvNet(1, 1, width=2, depth=1, key=KEY)(jnp.ones((4, 4, 2)))
        with pytest.raises(ShapeError, match="output of shape"):
            ImageCoupling("affine", ConvNet(1, 3, width=2, depth=1, key=KEY), (4, 4, 2))
        with pytest.raises(ShapeError, match="at least two channels"):
            ImageCoupling("affine", ConvNet(1, 2, width=2, depth=1, key=KEY), (4, 4, 1))
        with pytest.raises(ValueError, match="partition"):
            ImageCoupling("affine", ConvNet(1, 2, width=2, depth=1, key=KEY), (4, 4, 2), partition="rows")


class TestRecipes:
    @pytest.mark.parametrize("shape", quick_few([(28, 28, 1), (8, 8, 1), (32, 32, 3)], (8, 8, 1)))
    def test_shapes_in_both_directions(self, shape):
        """Shapes in both directions, for sides such as 28 -> 14 -> 7."""
        for name, recipe in IMAGE_RECIPES.items():
            flow = recipe(shape, key=0, n_layers=1, width=4, depth=1, levels=256)
            for direction in (flow.bijection.forward_and_log_det, flow.bijection.inverse_and_log_det):
                value, log_det = jax.eval_shape(direction, jax.ShapeDtypeStruct(shape, jnp.float32))
                assert (value.shape, log_det.shape) == (shape, ()), name

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"shape": (8, 8)}, "channels last"),
            ({"shape": (7, 7, 1)}, "halved 0 times.*pad the images to 8 x 8"),
            ({"shape": (6, 6, 1), "n_scales": 2}, "n_scales=1"),
            ({"levels": 1}, "levels"),
            ({"levels": 256, "alpha": 0.0}, "alpha"),
            ({"transform": "log"}, "transform"),
            ({"n_layers": 0}, "n_layers"),
        ],
    )
    def test_refusals(self, options, message):
        with pytest.raises(ValueError, match=message):
            pf.glow(**{"shape": (8, 8, 1), "key": 0, "n_scales": 1, **options})

    def test_activation_normalisation_is_initialised_from_data(self):
        """After `initialise` the output of every activation normalisation has mean zero and variance one."""
        flow = pf.glow((4, 4, 1), key=0, n_scales=2, n_layers=2, width=4, depth=1, levels=17)
        x = images(200, (4, 4, 1), 17) + np.random.default_rng(1).uniform(size=(200, 4, 4, 1))
        with quickly_compiled():
            z = np.asarray(jax.vmap(initialise_layers(flow.bijection, x).inverse)(jnp.asarray(x, jnp.float32)))
        # the constant pixel has the spread of its noise; the initial couplings are the identity
        assert abs(z.mean()) < 0.02
        assert abs(z.std() - 1) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", quick_few([n for n in IMAGE_RECIPES if "residual" not in n], "glow"))
def test_log_det_and_round_trip_of_larger_images(name):
    """8 x 8 x 3 in two scales, at random weights: log-determinant against the Jacobian of one point, and round trip."""
    flow = IMAGE_RECIPES[name]((8, 8, 3), key=0, n_layers=2, width=8)
    params, frozen = eqx.partition(flow.bijection, pf.trainable(flow.bijection))
    bijection = eqx.combine(randomised(params, 0.05), frozen)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 8, 3)), jnp.float32)

    @jax.jit
    def figures(x):
        matrix = jax.jacrev(lambda x: bijection.inverse_and_log_det(x)[0].reshape(-1))(x).reshape(192, 192)
        z, log_det = bijection.inverse_and_log_det(x)
        return z, log_det, matrix, bijection.forward_and_log_det(z)

    with quickly_compiled():
        z, log_det, matrix, (x_again, forward_log_det) = figures(x)
    # sums of some hundred float32 numbers of size one, a matrix of condition 1e3
    np.testing.assert_allclose(log_det, np.linalg.slogdet(np.asarray(matrix, np.float64))[1], atol=2e-3)
    np.testing.assert_allclose(x_again, x, atol=1e-3)
    np.testing.assert_allclose(forward_log_det, -log_det, atol=2e-3)
    assert float(jnp.abs(z - x).max()) > 0.1


class TestPixels:
    def test_pixel_sigmoid_at_edges(self):
        layer = PixelSigmoid((3,), levels=256, alpha=1e-6)
        edges = jnp.array([0.0, 128.0, 256.0])
        z, log_det = layer.inverse_and_log_det(edges)
        np.testing.assert_allclose(z, [-math.log(1e6 - 1), 0, math.log(1e6 - 1)], rtol=1e-5)
        assert np.isfinite(log_det)
        for wrong in ({"levels": 0}, {"levels": 2, "alpha": 0.5}):
            with pytest.raises(ValueError, match=list(wrong)[-1]):
                PixelSigmoid((1,), **wrong)

    def test_affine_levels_are_a_filled_standardise(self):
        flow = pf.glow((4, 4, 1), key=0, n_scales=1, n_layers=1, width=4, levels=16, transform="affine")
        outer = flow.bijection.bijections[-1]
        assert isinstance(outer, Standardise)
        np.testing.assert_allclose(outer.inverse(jnp.full((4, 4, 1), 8.0)), 0.0)


def vector_flow(dim=1, **options):
    return pf.nsf(dim=dim, key=0, n_layers=2, width=8, depth=1, n_bins=8, **options)


QUIET = {"key": 0, "progress": False, "validation": 0}


def noisy_glow(kind):
    """A Glow of 4 x 4 pixels and four levels, with uniform or variational noise."""
    flow = pf.glow((4, 4, 1), key=0, n_scales=1, n_layers=2, width=8, depth=1, levels=4, context_dim=None)
    noise = None
    if kind == "variational":
        noise = pf.dequantisation_flow((4, 4, 1), levels=4, width=8, depth=1, n_layers=1, key=1)
    return pf.Dequantised(flow, 4, noise=noise)


class TestDequantised:
    def test_masses_are_below_and_near_the_truth(self):
        """One coordinate with four levels: sums of exp(bound) are at most one, and near the masses after a fit."""
        truth = np.array([0.5, 0.1, 0.3, 0.1])
        x = np.repeat(np.arange(4.0), (truth * 400).astype(int))[:, None]
        flow = pf.Dequantised(vector_flow(), 4, n_draws=64)
        points = np.arange(4.0)[:, None]
        before = np.exp(np.asarray(flow.log_prob(points), np.float64))
        fitted, _ = pf.fit(flow, x, max_epochs=60, batch_size=100, learning_rate=1e-2, **QUIET)
        after = np.exp(np.asarray(fitted.log_prob(points), np.float64))
        assert before.sum() <= 1.0
        assert after.sum() <= 1.0 + 0.01  # the error of 64 draws a level is less
        np.testing.assert_allclose(after, truth, atol=0.05)
        tighter = pf.Dequantised(fitted.flow, 4, n_draws=64, bound="importance")
        assert np.exp(np.asarray(tighter.log_prob(points), np.float64)).sum() > after.sum()
        samples = np.asarray(fitted.sample(2000, key=0))
        assert set(np.unique(samples)) <= {0.0, 1.0, 2.0, 3.0}
        # tolerance: five standard errors of 2,000 draws (0.011 each), and the misfit
        np.testing.assert_allclose([(samples == k).mean() for k in range(4)], after, atol=0.08)

    @pytest.mark.slow
    def test_importance_weighting_corrects_learned_noise(self):
        """Uniform density, masses of a quarter: the bound is too low by KL(q, uniform), importance weighting is not."""
        shape = (1, 2, 1)
        flow = pf.Flow(pf.bases.Logistic(shape), PixelSigmoid(shape, levels=2, alpha=0.0))
        noise = pf.dequantisation_flow(shape, levels=2, width=4, depth=1, n_layers=1, key=0)
        params, frozen = eqx.partition(noise, pf.trainable(noise))
        noise = eqx.combine(randomised(params, 0.3), frozen)
        x = np.array([[[[0.0], [0.0]]], [[[0.0], [1.0]]], [[[1.0], [0.0]]], [[[1.0], [1.0]]]])
        log_probs = {
            bound: np.asarray(pf.Dequantised(flow, 2, noise=noise, n_draws=4096, bound=bound).log_prob(x))
            for bound in ("evidence", "importance")
        }
        assert (log_probs["evidence"] < math.log(0.25) - 0.01).all()
        # q is nearly uniform: the mean of 4,096 weights 1 / q(u) has a standard error of 0.02
        np.testing.assert_allclose(log_probs["importance"], math.log(0.25), atol=0.1)

    def test_log_prob_does_not_depend_on_other_rows(self):
        flow = pf.Dequantised(vector_flow(2), 5)
        x = np.array([[1.0, 2.0], [3.0, 0.0], [1.0, 2.0]])
        log_probs = np.asarray(flow.log_prob(x))
        assert log_probs[0] == log_probs[2]
        np.testing.assert_array_equal(log_probs, flow.log_prob(x))
        np.testing.assert_allclose(flow.log_prob(x[::-1])[0], log_probs[2], rtol=1e-6)
        samples, reported = flow.sample_and_log_prob(8, key=1)
        np.testing.assert_allclose(flow.log_prob(samples), reported, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize(("value", "text"), [(0.5, "0.5"), (-1.0, "-1"), (5.0, "5")])
    def test_values_that_are_no_levels_are_refused(self, value, text):
        flow, x = pf.Dequantised(vector_flow(2), 5), np.ones((30, 2))
        x[3, 1] = value
        with pytest.raises(DataError, match=rf"integers from 0 to 4, got {text} at row 3, index \(1,\)"):
            flow.log_prob(x)
        with pytest.raises(DataError, match="integers"):
            pf.fit(flow, x, **QUIET)

    def test_refusals(self):
        flow = vector_flow(2)
        for options, message in (({"levels": 1}, "levels"), ({"n_draws": 0}, "n_draws"), ({"bound": "upper"}, "bound")):
            with pytest.raises(ValueError, match=message):
                pf.Dequantised(flow, **{"levels": 4, **options})
        with pytest.raises(ShapeError, match="dequantisation_flow"):
            pf.Dequantised(flow, 4, noise=vector_flow(2))

    def test_bits_per_dim(self):
        assert pf.bits_per_dim(-64 * math.log(2.0), (4, 4, 1)) == pytest.approx(4.0)

    @pytest.mark.slow
    def test_variational_noise_has_a_better_bound(self):
        x = images(600, (4, 4, 1), 4)
        options = {"max_epochs": 20, "batch_size": 100, "learning_rate": 5e-3, "key": 0, "progress": False}
        (uniform, first), (variational, second) = (
            pf.fit(noisy_glow(kind), x[:500], validation=x[500:], **options) for kind in ("uniform", "variational")
        )
        assert first.validation[-1] > first.start
        assert second.validation[-1] > first.validation[-1]
        assert variational.flow.shape == uniform.shape

    @pytest.mark.slow
    def test_check_of_a_dequantised_flow(self):
        x = np.random.default_rng(0).integers(0, 4, (8, 2)).astype(float)
        with quickly_compiled():
            certificate = pf.check(pf.Dequantised(pf.nice(dim=2, key=0, n_layers=2, width=4, depth=1), 4), x, key=0)
        assert certificate.ok
        assert certificate.rows[0].name == "finite bounds of masses"

    def test_save_and_load_a_dequantised_flow(self, tmp_path):
        x = images(8, (4, 4, 1), 4)
        for kind in ("uniform", "variational"):
            flow = noisy_glow(kind)
            save(tmp_path / "flow.safetensors", flow)
            again = load(tmp_path / "flow.safetensors")
            np.testing.assert_array_equal(again.log_prob(x), flow.log_prob(x))
            assert again.levels == 4, kind

    def test_a_dequantised_flow_with_a_context(self):
        x = images(100, (4, 4, 1), 4)
        context = x[:, -1, -1]
        flow = pf.real_nvp_image((4, 4, 1), key=0, n_scales=1, n_layers=1, width=4, depth=1, levels=4, context_dim=1)
        fitted, history = pf.fit(pf.Dequantised(flow, 4), x, context=context, max_epochs=1, **QUIET)
        assert np.isfinite(history.train[0])
        assert bool(fitted.flow.context_scaling.is_filled)
        assert fitted.sample((), key=0, context=context[:5]).shape == (5, 4, 4, 1)


@pytest.mark.slow
def test_a_residual_flow_of_images_trains():
    x = images(64, (4, 4, 1), 4)
    flow = pf.residual_flow_image((4, 4, 1), key=0, n_scales=1, n_layers=1, width=4, depth=1, levels=4)
    fitted, history = pf.fit(pf.Dequantised(flow, 4, n_draws=2), x, max_epochs=1, **QUIET)
    assert np.isfinite(history.train[0])
    assert np.isfinite(fitted.log_prob(x[:2])).all()


class TestDataSets:
    def test_digits(self):
        data, again = datasets.digits(), datasets.digits()
        assert data.train.shape == (1437, 8, 8, 1)
        assert len(data.validation) == len(data.test) == 180
        assert (data.train.dtype, data.levels, data.train.max()) == (np.uint8, 17, 16)
        np.testing.assert_array_equal(data.test, again.test)

    def test_mnist_digits(self):
        data = datasets.mnist_digits()
        assert (data.shape, data.levels, data.train.max()) == ((28, 28, 1), 256, 255)

    def test_fashion(self, tmp_path):
        random, parts = np.random.default_rng(0), {}
        for name, n in (("train", 30), ("t10k", 5)):
            parts[name] = random.integers(0, 256, (n, 28, 28), np.uint8)
            with gzip.open(tmp_path / f"{name}-images-idx3-ubyte.gz", "wb") as file:
                file.write(struct.pack(">4I", 0x0803, n, 28, 28) + parts[name].tobytes())
        data = datasets.fashion_mnist(tmp_path)
        assert (len(data.train), len(data.validation), data.shape) == (27, 3, (28, 28, 1))
        np.testing.assert_array_equal(data.test[..., 0], parts["t10k"])
        with gzip.open(tmp_path / "t10k-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">4I", 0x0803, 5, 28, 28) + b"short")
        with pytest.raises(DataError, match="declares 3920 bytes"):
            datasets.fashion_mnist(tmp_path)
        (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"nothing of the kind")
        with pytest.raises(DataError, match="dataset-fashion-mnist"):
            datasets.fashion_mnist(tmp_path)

    def test_folders(self, tmp_path):
        image = pytest.importorskip("PIL.Image")
        random = np.random.default_rng(0)
        for index in range(20):
            image.fromarray(random.integers(0, 256, (4, 6, 3), np.uint8)).save(tmp_path / f"{index:02}.png")
        data = datasets.image_folder(tmp_path)
        assert (data.train.shape, len(data.validation), len(data.test)) == ((16, 4, 6, 3), 2, 2)
        image.fromarray(np.zeros((5, 6), np.uint8)).save(tmp_path / "20.png")
        with pytest.raises(DataError, match=r"20\.png: expected an image of shape \(4, 6, 3\)"):
            datasets.image_folder(tmp_path)
        (tmp_path / "20.png").write_bytes(b"no picture")
        with pytest.raises(DataError, match="cannot be read"):
            datasets.image_folder(tmp_path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="found 0"):
            datasets.image_folder(tmp_path / "empty")


def test_squeeze_of_batches_matches_single_samples():
    """A batch on the host and one sample are squeezed alike."""
    flow = pf.glow((4, 4, 1), key=0, n_scales=2, n_layers=1, width=4, depth=1)
    squeeze = flow.bijection.bijections[0]
    assert isinstance(squeeze.inner, Chain)
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 1)).astype(np.float32)
    np.testing.assert_array_equal(squeeze.inner_samples(x)[1], np.asarray(squeeze._squeeze(jnp.asarray(x[1]))))
    split = squeeze.inner.bijections[0]
    assert split.inner_samples(squeeze.inner_samples(x)).shape == (3, 2, 2, 2)
