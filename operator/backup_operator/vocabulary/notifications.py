"""Room `vocabulary`: the kinds of notices; `rules.notices` makes them, the routes of the chart choose by them."""

from enum import StrEnum


class NotificationKind(StrEnum):
    """What a notice tells: a trouble, its end, or the end of a restore."""

    FAILED = "Failed"
    RECOVERED = "Recovered"
    STUCK = "Stuck"
    STALE = "Stale"
    FRESH = "Fresh"
    STORAGE_LOW = "StorageLow"
    STORAGE_OK = "StorageOk"
    IMPLAUSIBLE = "Implausible"
    PLAUSIBLE = "Plausible"
    RETENTION_BLOCKED = "RetentionBlocked"
    RETENTION_RESUMED = "RetentionResumed"
    REJECTED = "Rejected"
    ACCEPTED = "Accepted"
    NOT_SCHEDULED = "NotScheduled"
    SCHEDULED = "Scheduled"
    RESTORE_STARTED = "RestoreStarted"
    RESTORE_COMPLETE = "RestoreComplete"
    RESTORE_FAILED = "RestoreFailed"


MEANING: dict[NotificationKind, str] = {
    NotificationKind.FAILED: "A run failed.",
    NotificationKind.RECOVERED: "The newest run ended well again.",
    NotificationKind.STUCK: "A run does not start, or does not end, and no fresh backup is left.",
    NotificationKind.STALE: "The newest verified backup is older than `objectives.rpo`, or there is none.",
    NotificationKind.FRESH: "A fresh verified backup is there again.",
    NotificationKind.STORAGE_LOW: "The volume is used above its limit, or could not be written.",
    NotificationKind.STORAGE_OK: "The volume has room again.",
    NotificationKind.IMPLAUSIBLE: "The newest backup is far smaller than those before it, or lacks a table.",
    NotificationKind.PLAUSIBLE: "The newest backup is in line again, or a person has accepted the change.",
    NotificationKind.RETENTION_BLOCKED: "Retention did not do its work; the reason says why.",
    NotificationKind.RETENTION_RESUMED: "Retention does its work again.",
    NotificationKind.REJECTED: "The spec is not accepted; the last accepted one goes on.",
    NotificationKind.ACCEPTED: "The spec is accepted again.",
    NotificationKind.NOT_SCHEDULED: "No run is started on schedule: suspended, or the API server refused the CronJob.",
    NotificationKind.SCHEDULED: "Runs are started on schedule again.",
    NotificationKind.RESTORE_STARTED: "A restore begins to write to its target.",
    NotificationKind.RESTORE_COMPLETE: "A restore ended well.",
    NotificationKind.RESTORE_FAILED: "A restore failed.",
}
