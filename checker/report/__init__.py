"""The report: a verdict and its run as one HTML file that needs nothing else, to be understood in ten seconds.

evidence.py reads the run, timeline.py and closeup.py lay out the pictures, the templates draw; page.py puts all
together.
"""

from checker.report.page import write

__all__ = ["write"]
