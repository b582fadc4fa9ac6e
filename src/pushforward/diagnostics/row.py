"""One test of a certificate: its value, its bound, and what a fault means."""

from dataclasses import dataclass

from pushforward.errors import warn_deprecated


@dataclass(frozen=True)
class Row:
    """One test: `value` must not exceed `bound`.

    Attributes:
        name: of the test.
        value: what was measured, or None.
        bound: what is allowed, or None.
        ok: whether the test passed; None where nothing could be tested.
        message: what the value is, or why nothing could be tested.
        fault: a short phrase for the verdict. For a failed test: what is wrong. For a test that could not be made and
            without which a verdict is worth little: why.
        fix: for a failed test, what to do.
        finding: what the fault means for the use of the model, in the words of the table: columns, values, shares.
        advice: what to do about it on the command line.
    """

    name: str
    value: float | None
    bound: float | None
    ok: bool | None
    message: str
    fault: str = ""
    fix: str = ""
    finding: str = ""
    advice: str = ""

    @property
    def sentence(self) -> str:
        """The deprecated name of `message`."""
        warn_deprecated("sentence")
        return self.message

    @property
    def remedy(self) -> str:
        """The deprecated name of `fix`."""
        warn_deprecated("remedy")
        return self.fix


def bounded_row(
    name: str, value: float, bound: float, success: str, message: str, fault: str, fix: str, *, finding: str = "",
    advice: str = "",
) -> Row:  # fmt: skip
    """The row of a test that passes, with the message `success`, if the value does not exceed the bound."""
    if value <= bound:
        return Row(name, value, bound, True, success)
    return Row(name, value, bound, False, message, fault, fix, finding, advice)
