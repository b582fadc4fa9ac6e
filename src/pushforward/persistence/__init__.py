"""Model files, a flow in one safetensors file from which no code runs; and export of compiled programs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
