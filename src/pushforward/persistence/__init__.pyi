"""The public names of this package and where they live; `__init__.py` loads them on first use."""

from .export import export as export
from .files import load as load
from .files import load_with_notes as load_with_notes
from .files import read_notes as read_notes
from .files import save as save
