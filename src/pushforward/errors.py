"""The exceptions of pushforward: each one's text says what was expected, what came, and what to do."""


class ShapeError(ValueError):
    """An array has another shape than the bijection, distribution or network declares."""


class DataError(ValueError):
    """The data cannot be modelled as they are: missing, infinite, constant, too few."""


class TableError(ValueError):
    """A file of numbers cannot be read or written; the sentence names file, row, column and value."""


class ModelFileError(ValueError):
    """A model file is not one of ours, is damaged, or asks for something this version does not know."""


class NumericError(ArithmeticError):
    """A computation left the finite numbers although its input was finite."""


class InverseError(NumericError):
    """A numerical inverse did not reach its tolerance."""


class TrainingDiverged(NumericError):
    """Training met non-finite losses again and again; the text names the epoch and the learning rate."""


class MissingExtra(ImportError):
    """An optional dependency is not installed; the text says which extra brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs {package}, which is not installed: pip install "pushforward[{extra}]".')
