"""pushforward: normalizing flows in JAX, for tables of numbers and for research.

This module has the functions and recipes; layers are in `pushforward.bijections`, `pushforward.bases` and
`pushforward.networks`. Names are imported on first use, so that `--help` does not import JAX; see `__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
