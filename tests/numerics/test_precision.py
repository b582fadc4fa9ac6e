"""Products in full precision: in the caller's own programs too, and not where the caller has said otherwise."""

import jax
import jax.numpy as jnp
import pytest
from battery.program import reduced_products

import pushforward as pf

SMALL = {"dim": 4, "key": 0, "n_layers": 2, "width": 8}


def lowered(flow, of_samples):
    """The program of a gradient that a caller compiles: of a likelihood, or of samples."""

    def loss(flow):
        if of_samples:
            return jnp.square(flow.sample(8, key=1)).sum()
        return flow.log_prob(jnp.ones((8, 4))).sum()

    return jax.jit(jax.grad(loss, allow_int=True)).lower(flow).as_text()


@pytest.mark.parametrize("of_samples", [False, True])
@pytest.mark.parametrize("name", ["maf", "nsf"])
def test_gradients_of_a_callers_program_are_in_full(name, of_samples):
    text = lowered(getattr(pf, name)(**SMALL), of_samples)
    assert "dot_general" in text
    assert not reduced_products(text)


def test_a_callers_setting_goes_before():
    with jax.default_matmul_precision("tensorfloat32"):
        text = lowered(pf.nsf(**SMALL), False)
    assert "HIGHEST" not in text
    assert reduced_products(text)
