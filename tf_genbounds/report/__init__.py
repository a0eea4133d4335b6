"""A report of a measured model, as text, Markdown, JSON, HTML and plots."""

from tf_genbounds.report.report import Report
from tf_genbounds.report.report import report

__all__ = ["Report", "report"]
