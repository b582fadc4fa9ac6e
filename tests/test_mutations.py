"""The planted faults of mutations.py, each of which some test must notice."""

import pytest
from mutations import FAULTS, verdict


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_caught(fault):
    assert verdict(fault)[0] == "caught"
