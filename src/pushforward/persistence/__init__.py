"""Model files: a whole flow in one safetensors file that runs no code when it is read."""

from pushforward.persistence.files import load, read_notes, save

__all__ = ["load", "read_notes", "save"]
