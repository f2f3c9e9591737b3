"""Foreign change events to changes: deployments, feature flags, configuration, infrastructure.

A form is one file with one object (see ``form.Form``), listed in ``reader.py``. It only says which of its fields is
which; ``fields.py`` does the rest.
"""

from correlator.changes.reader import ChangeReader, ChangeReading, forms

__all__ = ["ChangeReader", "ChangeReading", "forms"]
