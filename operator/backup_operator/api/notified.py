"""Room `api`: `status.notified` of both resources: what notifications have told; written by `rules.notices` alone."""

from typing import Annotated

from pydantic import Field, WithJsonSchema

from backup_operator.api.meta import Time
from backup_operator.api.parts import StatusPart
from backup_operator.vocabulary.notifications import NotificationKind

OWED_NOTICES = 20
"""So many notices wait for their targets; of more, the oldest are given up."""


class ToldTrouble(StatusPart):
    """A trouble that was told and has not ended."""

    condition: str
    """The condition that is not true."""
    reason: str
    """Why, in one word."""
    since: Time
    """When it turned."""


class OwedNotice(StatusPart):
    """A notice that is on its way."""

    kind: Annotated[NotificationKind, WithJsonSchema({"type": "string"})]
    """What it tells."""
    reason: str
    """The reason of the condition."""
    at: Time
    """When it happened."""
    message: str
    """What happened, in a sentence."""
    targets: tuple[str, ...]
    """The keys of the Secret with URLs whose targets have not accepted it yet."""


class NotifiedStatus(StatusPart):
    """What notifications have told about this object, and what they still owe."""

    told: tuple[ToldTrouble, ...] = ()
    """The troubles that were told, or are owed, and have not ended; each reason once."""
    owed: Annotated[tuple[OwedNotice, ...], Field(max_length=OWED_NOTICES)] = ()
    """The notices that a target has not accepted yet, oldest first; they are tried again for 24 hours."""
