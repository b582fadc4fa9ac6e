"""Model files: a whole flow in one safetensors file that runs no code when it is read; and programs for elsewhere."""

from pushforward.persistence.export import export
from pushforward.persistence.files import load, load_with_notes, read_notes, save

__all__ = ["export", "load", "load_with_notes", "read_notes", "save"]
