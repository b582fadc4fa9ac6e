"""pushforward: normalizing flows in JAX, for tables of numbers and for research.

The functions and recipes are here; parts are in `pushforward.bijections`, `pushforward.bases`, `pushforward.networks`.
Names load on first use, so that a command's `--help` does not wait for JAX. `__init__.pyi` lists them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
