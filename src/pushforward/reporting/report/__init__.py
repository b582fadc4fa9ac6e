"""Reports: one HTML file on a fitted model, its quality, and how to read the figures."""

from pushforward.reporting.report.distillation import write_distillation_report
from pushforward.reporting.report.images import write_image_report
from pushforward.reporting.report.page import write_report

__all__ = ["write_distillation_report", "write_image_report", "write_report"]
