"""Every row of the zoo against every property of the battery, in one dtype (see conftest.py)."""

import jax
import pytest
from battery import PROPERTIES, check
from zoo import BOTH, ROWS, SLOW_ROWS

if not jax.config.jax_enable_x64:
    pytestmark = pytest.mark.as_compiled  # float32 is what users compile

# One row for each kind of rule: a formula of ours, a root, a root in a layer, a linear solve.
WITH_RULES = ("HeavyTails", "Bernstein", "Planar", "MaskedConvolution")


def is_slow(row, name):
    """Properties that compile many programs are slow for rows that share their code with others."""
    if name == "derivatives":
        return row.name not in WITH_RULES
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
