"""One HTML file that tells what was fitted, how good it is, and how to read that."""

from pushforward.report.distillation import write_distillation_report
from pushforward.report.images import write_image_report
from pushforward.report.page import write_report

__all__ = ["write_distillation_report", "write_image_report", "write_report"]
