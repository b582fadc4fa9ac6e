"""One HTML file that tells what was fitted, how good it is, and how to read that."""

from pushforward.reporting.report.distillation import write_distillation_report
from pushforward.reporting.report.images import write_image_report
from pushforward.reporting.report.page import write_report

__all__ = ["write_distillation_report", "write_image_report", "write_report"]
