"""What the operating system says about a volume, with the next command to type."""

import errno
import os

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import StoreError
from backup_operator.worker.store.faults import storage_faults


@pytest.mark.parametrize(
    ("number", "reason", "message", "hint"),
    [
        (errno.ENOSPC, Reason.STORAGE_FULL, "is full", "`kubectl -n prod edit pvc backups`"),
        (errno.EDQUOT, Reason.QUOTA_EXCEEDED, "quota on claim prod/backups is used up", "`quota -s`"),
        (errno.EROFS, Reason.CLAIM_READ_ONLY, "is mounted read-only", "`kubectl -n prod describe pvc backups`"),
        (errno.EACCES, Reason.STORE_PERMISSION, "does not let the worker in", "chown -R"),
        (errno.EIO, Reason.STORAGE_FAILED, "answered with an error", "`kubectl -n prod describe pvc backups`"),
    ],
    ids=["full", "quota", "read-only", "permission", "broken"],
)
def test_every_fault_names_the_claim_what_was_done_and_a_command_of_its_namespace(number, reason, message, hint):
    with pytest.raises(StoreError) as told, storage_faults("claim prod/backups", "writing a file"):
        raise OSError(number, os.strerror(number))

    assert told.value.reason is reason
    assert "claim prod/backups" in told.value.message
    assert message in told.value.message
    assert told.value.detail == f"{os.strerror(number)}, while writing a file"
    assert hint in told.value.hint


def test_a_volume_that_is_no_claim_gets_no_made_up_names():
    with pytest.raises(StoreError) as told, storage_faults("the directory /mnt/copy", "writing a file"):
        raise OSError(errno.ENOSPC, "no space")

    assert "`kubectl edit pvc`" in told.value.hint
