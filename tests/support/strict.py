"""The run-time type checker of the tests. It accepts an int for a float, as PEP 484 does."""

import threading
from typing import Any

from beartype import BeartypeConf, beartype

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
_one_at_a_time = threading.RLock()


def typechecked(function: Any) -> Any:
    """The function with its types checked.

    The lock is needed because inner functions are decorated at run time, `fit` compiles in two threads, and beartype
    replaces the warning filters meanwhile: of two threads at once each may restore the filters of the other.
    """
    with _one_at_a_time:
        return _checked(function)
