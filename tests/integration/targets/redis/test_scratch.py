"""A scratch volume that is too small for the backup: said in words, before the kubelet ends the pod without any."""

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.targets.redis_throwaway import UNTOUCHED
from tests.integration.targets.redis.restoring import KEYS, backup_of, refused, restore
from tests.support.redis_server import RedisServer


@pytest.mark.parametrize("share", [0.5, 1.2], ids=["for the backup", "for the backup's commands"])
def test_a_scratch_volume_without_room_leaves_the_target_untouched(tmp_path, plain, share):
    backup = backup_of(tmp_path, plain.url())

    with RedisServer() as server:
        found = refused(tmp_path, server.url(), backup, scratch_bytes=int(backup.plain_bytes * share))
        with server.client() as client:
            assert client.dbsize() == 0

    assert (found.reason, found.message) == (
        Reason.STORAGE_FULL,
        "the pod's scratch space has no room for the backup",
    )
    assert UNTOUCHED in found.detail
    assert "spec.job.scratchSize" in found.hint


def test_a_scratch_volume_with_room_for_both_is_enough(tmp_path, plain):
    backup = backup_of(tmp_path, plain.url())

    with RedisServer() as server:
        restore(tmp_path, server.url(), backup, scratch_bytes=backup.plain_bytes * 12)
        with server.client() as client:
            assert client.dbsize() == KEYS
