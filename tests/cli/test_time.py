"""Times on the command line."""

import pytest
import typer

from pushforward.cli.options import parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("90s", 90.0), ("20m", 1200.0), ("1.5h", 5400.0), (".5m", 30.0), ("1e3", 1000.0), (None, None)],
)
def test_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "20 minutes", "0", "-5m", "inf", "nan", "infh", "1d", "1:30", "20mm"])
def test_bad_times_name_the_option(text):
    with pytest.raises(typer.BadParameter, match="90s, 20m or"):
        parse_time(text)
