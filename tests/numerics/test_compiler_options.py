"""Options of the compiler: for images, on a CPU, unless the user has set them."""

import jax
import numpy as np
import pytest

import pushforward as pf
from pushforward.numerics import compiler_options as module
from pushforward.numerics.compiler_options import compiler_options

SHAPE = (8, 8, 3)


@pytest.fixture(autouse=True)
def _optimised(monkeypatch):
    """As users compile, whatever the settings of the tests."""
    before = jax.config.read("jax_disable_most_optimizations")
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.parametrize(("shapes", "has_options"), [((SHAPE,), True), (((7,), SHAPE), True), (((7,), None), False)])
def test_programs_of_images_have_options(shapes, has_options):
    assert bool(compiler_options(*shapes)) is has_options


def test_options_of_the_user_stay(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=2")
    assert "xla_backend_optimization_level" not in compiler_options(SHAPE)
    jax.config.update("jax_disable_most_optimizations", True)
    assert compiler_options(SHAPE) == {}


def test_an_option_that_this_version_lacks_is_left_out(monkeypatch):
    monkeypatch.setattr(module, "_OPTIONS", {"xla_of_another_version": True, "xla_backend_optimization_level": 1})
    assert compiler_options(SHAPE) == {"xla_backend_optimization_level": 1}


@pytest.mark.parametrize("transformed", [jax.jit, jax.grad], ids=["jit", "grad"])
def test_calls_with_concrete_images_inside_a_transformation(transformed):
    """JAX refuses options in a jit within another."""
    flow, x = pf.glow((4, 4, 1), key=0, n_scales=1, n_layers=1, width=4), np.ones((3, 4, 4, 1), np.float32)
    scores, samples = flow.log_prob(x).sum(), flow.sample(2, key=0).sum()
    for call, expected in ((lambda: flow.log_prob(x), scores), (lambda: flow.sample(2, key=0), samples)):
        np.testing.assert_allclose(transformed(lambda s, call=call: s * call().sum())(1.0), expected, rtol=1e-4)
