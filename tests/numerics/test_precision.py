"""Matrix products have full precision in callers' programs too, unless the caller has set a precision."""

import jax
import jax.numpy as jnp
import pytest
from battery.program import reduced_products

import pushforward as pf

SMALL = {"dim": 4, "key": 0, "n_layers": 2, "width": 8}


def lowered(flow, of_samples):
    """The lowered program of a gradient of log-densities or of samples."""

    def loss(flow):
        if of_samples:
            return jnp.square(flow.sample(8, key=1)).sum()
        return flow.log_prob(jnp.ones((8, 4))).sum()

    return jax.jit(jax.grad(loss, allow_int=True)).lower(flow).as_text()


@pytest.mark.parametrize("of_samples", [False, True])
@pytest.mark.parametrize("name", ["maf", "nsf"])
def test_gradients_compiled_by_callers_have_full_precision(name, of_samples):
    text = lowered(getattr(pf, name)(**SMALL), of_samples)
    assert "dot_general" in text
    assert not reduced_products(text)


def test_a_precision_set_by_the_caller_has_priority():
    with jax.default_matmul_precision("tensorfloat32"):
        text = lowered(pf.nsf(**SMALL), False)
    assert "HIGHEST" not in text
    assert reduced_products(text)
