"""Room `rules`: the words of a notice: a subject line and a letter; called by `controller.notifier`. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from backup_operator.api.meta import format_time
from backup_operator.api.notified import OwedNotice
from backup_operator.vocabulary.notifications import NotificationKind as Kind


class Mood(StrEnum):
    """How a notice looks where colours and priorities are known; the words are Apprise's."""

    FAILURE = "failure"
    WARNING = "warning"
    SUCCESS = "success"
    INFO = "info"


@dataclass(frozen=True)
class Letter:
    """What a target gets."""

    title: str
    body: str
    mood: Mood


_HEADLINES: dict[Kind, tuple[str, Mood]] = {
    Kind.FAILED: ("the backup failed", Mood.FAILURE),
    Kind.RECOVERED: ("backups succeed again", Mood.SUCCESS),
    Kind.STUCK: ("a run is stuck", Mood.FAILURE),
    Kind.STALE: ("there is no fresh backup", Mood.FAILURE),
    Kind.FRESH: ("there is a fresh backup again", Mood.SUCCESS),
    Kind.STORAGE_LOW: ("the storage needs attention", Mood.WARNING),
    Kind.STORAGE_OK: ("the storage is well again", Mood.SUCCESS),
    Kind.IMPLAUSIBLE: ("the newest backup is implausible", Mood.FAILURE),
    Kind.PLAUSIBLE: ("the newest backup is plausible again", Mood.SUCCESS),
    Kind.RETENTION_BLOCKED: ("old backups are not deleted", Mood.WARNING),
    Kind.RETENTION_RESUMED: ("old backups are deleted again", Mood.SUCCESS),
    Kind.REJECTED: ("the spec is not accepted", Mood.FAILURE),
    Kind.ACCEPTED: ("the spec is accepted again", Mood.SUCCESS),
    Kind.NOT_SCHEDULED: ("no run is started on schedule", Mood.WARNING),
    Kind.SCHEDULED: ("runs are started on schedule again", Mood.SUCCESS),
    Kind.RESTORE_STARTED: ("a restore begins", Mood.INFO),
    Kind.RESTORE_COMPLETE: ("the restore is complete", Mood.SUCCESS),
    Kind.RESTORE_FAILED: ("the restore failed", Mood.FAILURE),
}


def letter_of(owed: OwedNotice, kind: str, namespace: str, name: str) -> Letter:
    """The notice about an object of this kind as people read it."""
    headline, mood = _HEADLINES[owed.kind]
    # the reasons of what ended well say nothing that the headline does not
    why = f" ({owed.reason})" if mood in (Mood.FAILURE, Mood.WARNING) else ""
    look = f"kubectl -n {namespace} describe {kind.lower()} {name}"
    body = f"{owed.message}\n\n{kind} {namespace}/{name}, {format_time(owed.at)}.\nTo see all of it: {look}"
    return Letter(f"{namespace}/{name}: {headline}{why}", body, mood)
