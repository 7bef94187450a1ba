"""Write self-contained HTML reports of one run or several.

A page works offline and runs no script: pictures are data URIs, charts are inline SVG, and clips
play as CSS animations.
"""

from t2vgan.report.comparison import Comparison, open_comparison, write_comparison
from t2vgan.report.page import write_report

__all__ = ["Comparison", "open_comparison", "write_comparison", "write_report"]
