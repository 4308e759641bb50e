"""Room `worker.store`: turns what the operating system says about the volume into a reason, words and the next command.

Called around every access to the volume, by every module of the store.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import StoreError

_CLAIM = re.compile(r"claim ([a-z0-9.-]+)/([a-z0-9.-]+)")


def claim_command(described: str, verb: str) -> str:
    """`kubectl -n prod edit pvc backups` for `claim prod/backups`; without names where a person calls it otherwise."""
    named = _CLAIM.fullmatch(described)
    return f"`kubectl -n {named[1]} {verb} pvc {named[2]}`" if named else f"`kubectl {verb} pvc`"


def kubectl_beside(described: str) -> str:
    """`kubectl -n prod` for `claim prod/backups`: how a command about the claim's namespace begins."""
    named = _CLAIM.fullmatch(described)
    return f"kubectl -n {named[1]}" if named else "kubectl"


def _full_hint(described: str) -> str:
    return (
        "See what fills it with `df -h` and `du -sh` in a pod that mounts the claim, then delete what is not needed, "
        f"or enlarge the claim with {claim_command(described, 'edit')} (spec.resources.requests.storage)."
    )


_QUOTA_HINT = (
    "See the limit with `quota -s` (or ask whoever runs the storage), then raise it or delete what is not needed; the "
    "volume itself may still have room."
)


def _read_only_hint(described: str) -> str:
    return (
        f"Look at the volume with {claim_command(described, 'describe')} and `kubectl get pv`: mounted read-only by "
        "its access mode, or turned read-only by the node after an error on the disk (`dmesg` on the node tells)."
    )


def _broken_hint(described: str) -> str:
    return (
        f"Look at the volume with {claim_command(described, 'describe')} and at the node's `dmesg`; the storage behind "
        "the claim does not answer as it should."
    )


@contextmanager
def storage_faults(described: str, doing: str = "using it") -> Iterator[None]:
    """Raise StoreError with its own reason for every OSError inside; `described` is how a person calls the claim."""
    try:
        yield
    except OSError as exc:
        raise storage_fault(exc, described, doing) from exc


def storage_fault(exc: OSError, described: str, doing: str) -> StoreError:
    """The error of ours for one of the operating system's. Source: errno(3)."""
    said = exc.strerror or str(exc)
    match exc.errno:
        case errno.ENOSPC:
            return _fault(Reason.STORAGE_FULL, f"the volume of {described} is full", doing, said, _full_hint(described))
        case errno.EDQUOT:
            return _fault(Reason.QUOTA_EXCEEDED, f"the quota on {described} is used up", doing, said, _QUOTA_HINT)
        case errno.EROFS:
            message = f"{described} is mounted read-only"
            return _fault(Reason.CLAIM_READ_ONLY, message, doing, said, _read_only_hint(described))
        case errno.EACCES | errno.EPERM:
            message = f"{described} does not let the worker in"
            return _fault(Reason.STORE_PERMISSION, message, doing, said, permission_hint(exc.filename))
        case _:
            message = f"the volume of {described} answered with an error"
            return _fault(Reason.STORAGE_FAILED, message, doing, said, _broken_hint(described))


def permission_hint(place: object) -> str:
    """What to type so that the worker may write there."""
    path = os.fsdecode(place) if isinstance(place, str | bytes) else "the store's directory"
    return (
        f"In a pod of user 0 that mounts the claim: `chown -R {os.geteuid()}:{os.getegid()} {path}` and "
        f"`chmod -R u+rwX {path}`."
    )


def _fault(reason: Reason, message: str, doing: str, said: str, hint: str) -> StoreError:
    return StoreError(reason, message, detail=f"{said}, while {doing}", hint=hint)
