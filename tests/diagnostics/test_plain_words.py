"""The certificate in the words of a table: the verdict, the findings and the columns they name."""

import numpy as np
import pytest
from pages import TECHNICAL

from pushforward.core.named_rows import NamedRows
from pushforward.diagnostics import Certificate, Row
from pushforward.diagnostics.atoms import atoms_row
from pushforward.diagnostics.calibration import data_row, latent_row
from pushforward.diagnostics.comparison import comparison_row, largest_differences, ranked
from pushforward.diagnostics.inputs import Columns
from pushforward.diagnostics.plain_words import _MEANINGS, OUT_OF_SUPPORT
from pushforward.diagnostics.tails import reach_row, tails_row


def failed(name, **changes):
    return Row(name, 2.0, 1.0, False, "T^-1", changes.pop("fault", "the Jacobian"), "See the log-det.", **changes)


def summary(*rows):
    return Certificate(rows, "float32").summary


def normal(n, dim, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim))


def named(x, *names):
    return Columns(NamedRows(x, list(names)), x.shape[1:])


PASSED = Row("comparison with samples", 0.5, 0.6, True, "Fine.")


@pytest.mark.parametrize(
    ("rows", "start"),
    [
        ([PASSED], "The model is healthy: it can be trusted"),
        ([Row("finite values", 0.0, 0.0, True, "Fine.")], "No fault was found in the model itself. Whether it fits a"),
        (
            [Row("comparison with samples", None, None, None, "Few.", finding="20 rows are too few.")],
            "No fault was found, but 20 rows are too few.",
        ),
        ([PASSED, failed("log-det of forward"), failed("classifier")], "Do not use this model: the scores of samples"),
        (
            [failed("finite values", fault=OUT_OF_SUPPORT, finding="3 rows.")],
            "Do not rely on the scores and samples: 3",
        ),
        (
            [failed("classifier"), failed("over-fitting")],
            "Do not rely on the scores and samples: the model has learned",
        ),
        ([failed("copies of training rows")], "Do not trust the test: test rows are copies"),
        (
            [failed("condition number", fault="it explodes; in float64 it is healthy")],
            "The model is healthy in double precision, in which the commands compute. In single precision",
        ),
        ([failed("condition number")], "Do not rely on the scores and samples: in single precision"),
        ([failed("mine", fault="it is broken")], "Do not use this model: it is broken."),
        ([failed("mine", fault="")], "Do not use this model: the test 'mine' failed."),
    ],
)
def test_summary(rows, start):
    assert summary(*rows).startswith(start)
    assert str(Certificate(tuple(rows), "float32")).replace("\n", " ").startswith(start)


def test_findings_are_ordered_by_importance_and_not_repeated():
    names = ["classifier", "round trip of data", "round trip of samples", "over-fitting", "integral of the density"]
    findings = Certificate(tuple(map(failed, names)), "float32").findings
    expected = ["integral of the density", "round trip of samples", "over-fitting", "classifier"]
    assert findings == [_MEANINGS[name] for name in expected]
    assert not any(TECHNICAL.search(f"{finding.text} {finding.advice}") for finding in _MEANINGS.values())


def test_findings_are_stored():
    certificate = Certificate((failed("x", finding="Found.", advice="Do."),), "float32")
    assert Certificate.from_dict(certificate.to_dict()).findings == [("Found.", "Do.")]


def test_a_column_is_named_with_shares_and_values():
    """Half of the prices are 0 in the rows and none in the samples."""
    random = np.random.default_rng(0)
    x, samples = normal(2000, 2), normal(8000, 2, 1)
    x[:, 1] = np.where(random.random(2000) < 0.5, 0.0, np.abs(x[:, 1]))
    columns = named(x, "age", "price (EUR)")
    atoms, data = atoms_row(x, samples, columns), data_row(x, samples, columns, random)
    share = np.mean(x[:, 1] == 0)
    assert f"In column 'price (EUR)' {share:.1%} of the rows have exactly 0, but 0.0% of the samples" in atoms.finding
    assert "--column 'price (EUR)'=rounded:STEP" in atoms.advice
    # just below 0, half of the samples are there and none of the rows
    assert data.finding.startswith("In column 'price (EUR)' 0% of the rows are at most -")
    assert data.finding.endswith("but 50% of the samples.") or "but 49% of the samples." in data.finding
    far = np.concatenate([x, 9 + normal(40, 2)])
    tails = tails_row(np.random.default_rng(1).standard_t(1, (2000, 2)), samples, columns)
    reach = reach_row(
        far, -(far**2).sum(1), np.tile(samples, (3, 1)), -(samples[:2040] ** 2).sum(1), np.arange(2040), far, columns
    )
    for row in (tails, reach):
        assert "--column " in row.advice
        assert not TECHNICAL.search(row.finding + row.advice)


def test_latent_coordinates_are_mapped_to_columns():
    """One coordinate is a monotone map of one column; the other is a mixture."""
    x = normal(4000, 3)
    columns = named(x, "a", "b", "c")
    assert columns.most_related(np.exp(-x[:, 1]), x) == ("column 'b'", 1)
    mixture = 2 * x[:, 2] + 1.5 * x[:, 0]
    assert columns.most_related(mixture, x) == (
        "a direction that mixes columns, most of all column 'c' and column 'a'", 2,
    )  # fmt: skip
    assert columns.most_related(normal(4000, 1, 5)[:, 0], x)[0] == "a direction that mixes columns"
    z = x.copy()
    z[:, 1] += 1.0
    row = latent_row(z, normal(20_000, 3, 1), x, columns)
    assert row.finding == "The model misses how columns go together, most in column 'b'."
    parts = [ranked(z, normal(4000, 3, 1)[:, None], [f"latent coordinate {index}" for index in range(3)])]
    row = comparison_row(
        largest_differences(parts, None), 4000, 1, lambda index: columns.most_related(z[:, index], x)[0]
    )
    assert "latent coordinate 1" in row.message
    assert row.finding.startswith("Rows and samples differ in how columns go together, most in column 'b': by 1")


def test_features_are_named_in_plain_words():
    x, samples = normal(4000, 2), normal(4000, 2, 1)
    x[:, 1] = 0.8 * x[:, 0] + 0.6 * x[:, 1]
    row = comparison_row(
        largest_differences([ranked(x, samples[:, None], ["column 'a'", "column 'b'"])], None), 4000, 1
    )
    assert row.finding.startswith("Rows and samples differ most in how column 'a' and column 'b' go together: by ")
    few = comparison_row(largest_differences([ranked(x[:20], samples[:20, None], ["a", "b"])], None), 20, 1)
    assert few.finding.startswith("20 rows are too few to judge: a column could be off by ")
