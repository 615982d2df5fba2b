"""The report: what an output directory holds, as pages that a browser opens from the disk.

It is made of what the ledger says and of small previews, and knows nothing of how a run works.
"""

from batchstack.report.write import write_report

__all__ = ["write_report"]
