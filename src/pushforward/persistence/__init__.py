"""Model files: a whole flow in one safetensors file that runs no code when it is read; and programs for elsewhere."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
