"""Foreign alert bytes to alerts.

A dialect is one file with one object (see ``dialect.Dialect``), listed in ``reader.py``. It only says which of its
fields is which native field; ``normalise.py`` does the rest.
"""

from correlator.dialects.limits import NOTES, Limits
from correlator.dialects.reader import REPLICA_LABELS, SERVICE_LABELS, Reader, Reading, dialects

__all__ = ["NOTES", "REPLICA_LABELS", "SERVICE_LABELS", "Limits", "Reader", "Reading", "dialects"]
