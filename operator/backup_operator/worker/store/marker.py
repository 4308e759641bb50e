"""Room `worker.store`: `<uid>.started`, the proof that a restore request has been begun; called by `worker.restore`.

It is made exclusively and is on the volume before the first write to a target. It is never removed: a request that was
begun once is never carried out again, whatever becomes of Job, pod, node and operator.
"""

import json
from collections.abc import Mapping

from pydantic import JsonValue

from backup_operator.rules.naming import marker_name
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import OrderInvalid, StoreError, TargetError
from backup_operator.worker.store.directory import Store

_LIMIT_BYTES = 16 << 10


def refuse_begun(store: Store, uid: str) -> None:
    """Raises: TargetError AlreadyStarted when this request has been begun before; OrderInvalid; StoreError."""
    name = _name(uid)
    if store.exists(name):
        raise _begun(store, name)


def mark_begun(store: Store, uid: str, told: Mapping[str, JsonValue]) -> None:
    """Make the marker, on the volume when this returns; `told` is for people who find it.

    Raises: TargetError AlreadyStarted when it is there already; StoreError.
    """
    name = _name(uid)
    try:
        store.create_whole(name, json.dumps({**told, "uid": uid}, indent=1).encode() + b"\n")
    except FileExistsError as exc:
        raise _begun(store, name) from exc


def _name(uid: str) -> str:
    try:
        return marker_name(uid)
    except ValueError as exc:
        raise OrderInvalid(f"the request's uid cannot name its marker: {exc}; nothing was changed") from exc


def _begun(store: Store, name: str) -> TargetError:
    return TargetError(
        Reason.ALREADY_STARTED,
        "this request has been started before, and a request runs at most once; nothing was changed by this attempt",
        detail=f"{name} on {store.described} says: {_told(store, name)}",
        hint="Look at what that attempt did to the target, then make a new RestoreRequest: it has a uid of its own.",
    )


def _told(store: Store, name: str) -> str:
    try:
        members = json.loads(store.read_file(name, _LIMIT_BYTES))
        return ", ".join(f"{key} {value}" for key, value in members.items() if key != "uid")
    except (FileNotFoundError, StoreError, ValueError, AttributeError, RecursionError):
        return "nothing that can be read"
