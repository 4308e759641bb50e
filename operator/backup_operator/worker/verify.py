"""Room `worker`: reads a stored file back from the volume and proves that it is the dump; called by `worker.backup`."""

import os
from typing import BinaryIO

from backup_operator.vocabulary.choices import ArtifactKind
from backup_operator.worker.errors import KeyInvalid, VerificationFailed
from backup_operator.worker.progress import Progress
from backup_operator.worker.sources.base import Contents, Dump
from backup_operator.worker.stages.chain import Recipe, Sealed, unseal


def verify_artifact(stored: BinaryIO, dump: Dump, written: Sealed, recipe: Recipe, progress: Progress) -> Contents:
    """What the stored file holds, once every byte of it was read, decrypted, unpacked, hashed and inspected.

    `stored` is read from its start; the system's cached pages of it are dropped first, so that the bytes come from
    the volume. They must have been synced before.

    Raises: VerificationFailed, DumpIncomplete, SourceError.
    """
    try:
        return _read_back(stored, dump, written, recipe, progress)
    except KeyInvalid as error:
        # it was sealed with this key a moment ago: what does not open has been damaged in its first block
        raise _changed(f"it does not open: {error.message}") from error


def _read_back(stored: BinaryIO, dump: Dump, written: Sealed, recipe: Recipe, progress: Progress) -> Contents:
    os.posix_fadvise(stored.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    stored.seek(0)
    with dump.inspector() as inspector, unseal(stored, (recipe.passphrase,), recipe.algorithm) as plaintext:
        word = "keys" if dump.kind is ArtifactKind.REDIS_RDB else "rows"
        progress.counted = lambda: {word: inspector.counted}
        for block in progress.watch(plaintext):
            inspector.update(block)
        contents = inspector.finish()
        _compare(written, plaintext.sealed)
    return contents


def _compare(written: Sealed, found: Sealed) -> None:
    if found != written:
        raise _changed(
            f"written: {written.stored_bytes} bytes, SHA-256 {written.stored_sha256}; "
            f"found: {found.stored_bytes} bytes, SHA-256 {found.stored_sha256}"
        )


def _changed(detail: str) -> VerificationFailed:
    return VerificationFailed(
        "the stored file, read back, is not what was written",
        detail=detail,
        hint="check the volume and its node for disk errors; the next run writes a new file",
    )
