"""One HTML file that tells what was fitted, how good it is, and how to read that."""

from pushforward.report.page import write_report

__all__ = ["write_report"]
