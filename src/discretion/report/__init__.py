"""What people read: one `Report`, written as terminal table, Markdown, HTML, JUnit and JSON."""

from discretion.report.content import Leak, Report
from discretion.report.files import write_reports

__all__ = ["Leak", "Report", "write_reports"]
