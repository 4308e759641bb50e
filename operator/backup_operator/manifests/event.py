"""Room `manifests`: Events of the operator; called by `controller.announce`.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/ (note: 1024 bytes at most).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backup_operator.api.meta import API_VERSION
from backup_operator.manifests.labels import OPERATOR
from backup_operator.rules.short_names import digest, short_name

_NOTE_LIMIT_BYTES = 1000
_NAME_LIMIT = 253


@dataclass(frozen=True)
class Subject:
    """What an Event is about."""

    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class Occurrence:
    """What happened; two occurrences with the same content at the same moment are one Event."""

    reason: str
    note: str
    warning: bool


def event(subject: Subject, occurrence: Occurrence, at: datetime, *, instance: str) -> dict[str, Any]:
    """An Event of events.k8s.io/v1; its name follows from its content, so that sending it twice makes one."""
    moment = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    suffix = f".{digest(f'{subject.uid}/{occurrence.reason}/{occurrence.note}/{moment}')}"
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": short_name(subject.name, _NAME_LIMIT - len(suffix)) + suffix,
            "namespace": subject.namespace,
        },
        "eventTime": moment,
        "type": "Warning" if occurrence.warning else "Normal",
        "reason": occurrence.reason,
        "action": "Reconcile",
        "note": _cut(occurrence.note),
        "reportingController": OPERATOR,
        "reportingInstance": instance,
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": subject.kind,
            "namespace": subject.namespace,
            "name": subject.name,
            "uid": subject.uid,
        },
    }


def _cut(text: str) -> str:
    encoded = text.encode()
    return text if len(encoded) <= _NOTE_LIMIT_BYTES else encoded[:_NOTE_LIMIT_BYTES].decode(errors="ignore") + "…"
