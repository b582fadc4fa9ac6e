"""Every row of the zoo against every property of the battery, in one dtype (see conftest.py)."""

import jax
import pytest
from battery import PROPERTIES, check
from zoo import BOTH, ROWS, SLOW_ROWS

if not jax.config.jax_enable_x64:
    pytestmark = pytest.mark.as_compiled  # float32 is what users compile

# One row of each way to write a derivative: a formula, a rule of its own, a root, a root in a layer, a fixed point.
SECOND_ORDER = ("SinhArcsinh", "HeavyTails", "Bernstein", "Planar", "MaskedConvolution")


def is_slow(row, name):
    """Op by op every operation is a program to compile: rows that share their parts with others show it when slow."""
    if name == "second derivatives":
        return row.name not in SECOND_ORDER
    return name == "jit = eager" and row.quick != BOTH


@pytest.mark.parametrize(
    ("row", "name"),
    [
        pytest.param(row, name, id=f"{row.name}-{name}", marks=[pytest.mark.slow] if is_slow(row, name) else [])
        for row in ROWS
        for name in PROPERTIES
    ],
)
def test_row(row, name):
    wrong = check(row, name)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in SLOW_ROWS])
def test_slow_row(row, name):
    wrong = check(row, name)
    assert not wrong, "\n".join(wrong)
