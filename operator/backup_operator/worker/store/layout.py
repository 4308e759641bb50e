"""Room `worker.store`: opens a policy's directory on the volume and measures its room; called by `worker.cli`."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from backup_operator.contract.report import StorageUse
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import OrderInvalid, StoreError
from backup_operator.worker.store.directory import DIRECTORY_MODE, Store, sync_directory
from backup_operator.worker.store.faults import claim_command, kubectl_beside, permission_hint, storage_faults

LEAST_ROOM_BYTES = 1 << 20
"""What entry, intent, audit line and RECOVER.md need beside the artifacts, with a wide margin."""
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def open_store(
    mount: Path, path: str, *, described: str, create: bool, before_step: Callable[[str], None] | None = None
) -> Store:
    """The store at `path` below the volume's mount point; `create` makes missing directories and means to write.

    Without `create` nothing on the volume is changed. No link is followed below the mount.
    Raises: StoreError (ClaimMissing, ClaimReadOnly, StorePermission, StoreMissing, …), OrderInvalid for a bad path.
    """
    parts = _parts(path, described)
    place = mount
    descriptor = _open_mount(mount, described)
    try:
        for part in parts:
            place = place / part
            descriptor = _descend(descriptor, part, place, described, create=create)
        if create:
            _require_writable(descriptor, place, described)
    except BaseException:
        os.close(descriptor)
        raise
    return Store(descriptor, place, described, *([before_step] if before_step else []))


def open_inside(store: Store, name: str) -> Store | None:
    """A store in a directory of another one, or None where there is none. Raises: StoreError."""
    if not store.exists(name):
        return None
    parent, place = os.dup(store.fileno()), store.directory / name
    try:
        descriptor = _descend(parent, name, place, store.described, create=False)
    except BaseException:
        os.close(parent)
        raise
    return Store(descriptor, place, store.described)


def require_writable(store: Store) -> None:
    """Raise StoreError (ClaimReadOnly, StorePermission) when nothing can be written; changes nothing."""
    with store.faults("looking whether it can be written"):
        _refuse_unwritable(store.fileno(), store.directory, store.described)


def measure(store: Store) -> StorageUse:
    """Use of the volume and of the store, as `df` counts: what only root may fill is neither used nor capacity."""
    with store.faults("measuring its room"):
        volume = os.statvfs(store.fileno())
    used = (volume.f_blocks - volume.f_bfree) * volume.f_frsize
    return StorageUse(
        used_bytes=used,
        capacity_bytes=used + volume.f_bavail * volume.f_frsize,
        store_bytes=sum(store.size_of(name) or 0 for name in store.names()),
    )


def others_bytes(store: Store) -> int:
    """What everybody else takes on the volume, the file system's own part included."""
    use = measure(store)
    return max(0, use.used_bytes - use.store_bytes)


def require_space(store: Store, estimated_bytes: int | None) -> None:
    """Raise StoreError (StorageFull) when a run that stores this many bytes cannot fit; None means unknown."""
    with store.faults("measuring its room"):
        volume = os.statvfs(store.fileno())
    if volume.f_files and not volume.f_favail:
        raise _full(store, "it has no free inode", f"all {volume.f_files} inodes are in use")
    use = measure(store)
    free = use.capacity_bytes - use.used_bytes
    needed = (estimated_bytes or 0) + LEAST_ROOM_BYTES
    if free < needed:
        in_use = f"{_size(use.used_bytes)} of {_size(use.capacity_bytes)} are in use"
        detail = f"{in_use}, {_size(use.store_bytes)} of them by this store"
        raise _full(store, f"{_size(free)} are free, the run may need {_size(needed)}", detail)


def _full(store: Store, what: str, detail: str) -> StoreError:
    return StoreError(
        Reason.STORAGE_FULL,
        f"the volume of {store.described} is too full to begin: {what}",
        detail=detail,
        hint=(
            f"Enlarge the claim with {claim_command(store.described, 'edit')} (spec.resources.requests.storage). Or, "
            "in a pod that mounts it, see what else lies there with `du -sh`, and let old backups go with "
            f"`backup-worker prune --store {store.directory}`: a policy's retention deletes only after a good run."
        ),
    )


def _parts(path: str, described: str) -> list[str]:
    parts = path.split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise OrderInvalid(
            f"the store's path {path!r} cannot be used",
            detail="A path is relative to the volume, such as prod/app-db, without empty parts, `.` and `..`.",
            hint=f"Change spec.storage.path of the policy with `{kubectl_beside(described)} edit bp`.",
        )
    return parts


def _open_mount(mount: Path, described: str) -> int:
    try:
        return os.open(mount, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise StoreError(
            Reason.CLAIM_MISSING,
            f"{described} is not mounted",
            detail=f"there is no directory {mount}",
            hint=f"See whether the claim exists and is bound: {claim_command(described, 'get')}.",
        ) from exc
    except PermissionError as exc:
        raise _not_ours(mount, described, mount.stat()) from exc
    except OSError as exc:
        with storage_faults(described, f"opening {mount}"):
            raise exc from None


def _descend(parent: int, part: str, place: Path, described: str, *, create: bool) -> int:
    """The descriptor of a directory in `parent`, which is closed when that worked."""
    if create:
        _make_directory(parent, part, place, described)
    try:
        descriptor = os.open(part, _OPEN_DIRECTORY, dir_fd=parent)
    except FileNotFoundError as exc:
        raise _absent(parent, place, described) from exc
    except OSError as exc:
        raise _unusable(exc, parent, part, place, described) from exc
    os.close(parent)
    return descriptor


def _make_directory(parent: int, part: str, place: Path, described: str) -> None:
    try:
        os.mkdir(part, DIRECTORY_MODE, dir_fd=parent)
    except FileExistsError:
        return
    except PermissionError as exc:
        raise _not_ours(place.parent, described, os.fstat(parent)) from exc
    except OSError as exc:
        with storage_faults(described, f"making the directory {place}"):
            raise exc from None
    with storage_faults(described, f"making the directory {place}"):
        sync_directory(parent)


def _absent(parent: int, place: Path, described: str) -> StoreError:
    with storage_faults(described, f"listing {place.parent}"):
        beside = sorted(os.listdir(parent))[:10]
    return StoreError(
        Reason.STORE_MISSING,
        f"{described} has no directory {place}",
        detail=f"beside it there is: {', '.join(beside) or 'nothing'}",
        hint=(
            f"Compare with spec.storage.path of the policy (`{kubectl_beside(described)} get bp -o yaml`), whose first "
            "run makes it; a wrong from.store.path is corrected in another RestoreRequest."
        ),
    )


def _unusable(exc: OSError, parent: int, part: str, place: Path, described: str) -> StoreError:
    with storage_faults(described, f"looking at {place}"):
        found = os.stat(part, dir_fd=parent, follow_symlinks=False)
    if exc.errno in {errno.ELOOP, errno.ENOTDIR}:
        what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "not a directory"
        return StoreError(
            Reason.STORE_PERMISSION,
            f"{place} on {described} is {what}; a store is a directory below the volume's root",
            hint=f"See what it is with `ls -ld {place}`, and move it away or choose another spec.storage.path.",
        )
    return _not_ours(place, described, found)


def _require_writable(descriptor: int, place: Path, described: str) -> None:
    with storage_faults(described, f"looking at {place}"):
        found = _refuse_unwritable(descriptor, place, described)
        if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != DIRECTORY_MODE:
            # an open umask, or fsGroup has widened it. Not another's: shares that map owners take no chmod
            os.fchmod(descriptor, DIRECTORY_MODE)


def _refuse_unwritable(descriptor: int, place: Path, described: str) -> os.stat_result:
    found = os.fstat(descriptor)
    if os.fstatvfs(descriptor).f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    if not _may_write(descriptor, found):
        raise _not_ours(place, described, found)
    return found


def _may_write(descriptor: int, found: os.stat_result) -> bool:
    if os.geteuid() == 0 and found.st_uid != 0:
        # root may do everything, but the files it leaves could not be read by the owner's runs
        return bool(found.st_mode & stat.S_IWOTH)
    return os.access(f"/proc/self/fd/{descriptor}", os.R_OK | os.W_OK | os.X_OK, effective_ids=True)


def _not_ours(place: Path, described: str, found: os.stat_result) -> StoreError:
    return StoreError(
        Reason.STORE_PERMISSION,
        f"{place} on {described} belongs to somebody else, or its mode keeps the worker out",
        detail=(
            f"found uid {found.st_uid}, gid {found.st_gid}, mode {stat.S_IMODE(found.st_mode):04o}; expected uid "
            f"{os.geteuid()}, gid {os.getegid()}, mode {DIRECTORY_MODE:04o}"
        ),
        hint=permission_hint(str(place)),
    )


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
