"""Every row of the zoo against every property of the battery, in one dtype (see conftest.py)."""

import pytest
from battery import PROPERTIES, check
from zoo import ROWS, SLOW_ROWS


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_row(row, name):
    wrong = check(row, name)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in SLOW_ROWS])
def test_slow_row(row, name):
    wrong = check(row, name)
    assert not wrong, "\n".join(wrong)
