"""Matrix products have full precision in callers' programs too, unless the caller has set a precision."""

import jax
import jax.numpy as jnp
import pytest
from battery.program import reduced_products

import pushforward as pf
from pushforward.numerics.flat_product import flat_product

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


@pytest.mark.parametrize("precision", ["tensorfloat32", "float32", "F32_F32_F32"])
def test_flat_products_have_the_precision_of_their_call(precision):
    """Not that of the time when their program is made."""

    def product(vectors, matrix):
        with jax.default_matmul_precision(precision):
            return flat_product(vectors, matrix)

    def precisions(function):
        gradient = jax.vmap(jax.value_and_grad(lambda v, m: function(v, m).sum(), (0, 1)), (0, None))
        text = jax.jit(gradient).lower(jnp.ones((4, 3, 2)), jnp.eye(2)).as_text()
        products = [line for line in text.splitlines() if "dot_general" in line]
        return [line[line.index("precision =") : line.rindex(" : ")] for line in products]

    plain = precisions(lambda vectors, matrix: jnp.matmul(vectors, matrix, precision=precision))
    assert precisions(product) == plain
    assert len(plain) == 3


def test_a_precision_set_by_the_caller_has_priority():
    with jax.default_matmul_precision("tensorfloat32"):
        text = lowered(pf.nsf(**SMALL), False)
    assert "HIGHEST" not in text
    assert reduced_products(text)
