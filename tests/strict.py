"""The run-time type checker of the test run: an int is a float where one is asked for, as PEP 484 has it."""

import threading
from typing import Any

from beartype import BeartypeConf, beartype

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
_one_at_a_time = threading.RLock()


def typechecked(function: Any) -> Any:
    """The function with its types checked.

    Functions inside others are decorated as they are met, `fit` compiles in two threads, and beartype puts the filters
    of warnings aside meanwhile: two threads that do so at once leave those of the other, and a test misses its warning.
    """
    with _one_at_a_time:
        return _checked(function)
