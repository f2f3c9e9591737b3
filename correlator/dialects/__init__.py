"""Foreign alert bytes to alerts. A dialect is one file with one object, listed in ``reader.py``."""

from correlator.dialects.limits import NOTES, Limits
from correlator.dialects.reader import REPLICA_LABELS, SERVICE_LABELS, Reader, Reading, dialects

__all__ = ["NOTES", "REPLICA_LABELS", "SERVICE_LABELS", "Limits", "Reader", "Reading", "dialects"]
