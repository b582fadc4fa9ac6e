"""Marks all but a few of many test cases as slow."""

from collections.abc import Iterable
from typing import Any

import pytest


def quick_few(cases: Iterable[Any], *quick: Any) -> list[Any]:
    """The cases as pytest parameters, all but `quick` marked slow."""
    return [case if case in quick else pytest.param(case, marks=pytest.mark.slow) for case in cases]
