"""Room `vocabulary`: the condition types of both resources; read by `rules.conditions` and `controller`."""

from enum import StrEnum


class ConditionType(StrEnum):
    """A condition of a BackupPolicy. Ready is the summary; the others are its parts, in the order they are judged."""

    READY = "Ready"
    ACCEPTED = "Accepted"
    SCHEDULED = "Scheduled"
    LAST_RUN_SUCCEEDED = "LastRunSucceeded"
    FRESH = "Fresh"
    RETAINED = "Retained"
    STORAGE_AVAILABLE = "StorageAvailable"
    PLAUSIBLE = "Plausible"


class RestoreConditionType(StrEnum):
    """A condition of a RestoreRequest; it ends in exactly one of COMPLETE and FAILED."""

    PLANNED = "Planned"
    COMPLETE = "Complete"
    FAILED = "Failed"


class ConditionStatus(StrEnum):
    """The status of a condition, spelled as the API server does."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"
