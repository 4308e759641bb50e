"""Opening a store: where it may be, whose it may be, and how a full or broken volume is told."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import OrderInvalid, StoreError, WorkerError
from backup_operator.worker.store.faults import storage_faults
from backup_operator.worker.store.layout import LEAST_ROOM_BYTES, measure, open_store, require_space
from tests.support.shell import LocalShell
from tests.support.store_content import NIGHT, write_run
from tests.support.volumes import mounted_tmpfs

NOBODY = 65534


def opened(mount: Path, path: str = "prod/app-db", *, create: bool = True):
    return open_store(mount, path, described="claim prod/backups", create=create)


def refusal(mount: Path, path: str = "prod/app-db", *, create: bool = True) -> WorkerError:
    with pytest.raises(WorkerError) as refused:
        opened(mount, path, create=create)
    return refused.value


@pytest.fixture
def small_volume(tmp_path):
    """A file system of 2 MiB of its own."""
    with mounted_tmpfs(tmp_path / "small", 2 << 20, inodes=20) as mount:
        yield mount


def test_a_store_is_made_below_the_mount_for_us_alone(tmp_path):
    tmp_path.chmod(0o777)
    with opened(tmp_path) as store:
        assert store.directory == tmp_path / "prod/app-db"

    assert [path.stat().st_mode & 0o7777 for path in (tmp_path, tmp_path / "prod", tmp_path / "prod/app-db")] == [
        0o777,
        0o700,
        0o700,
    ]


def test_a_store_that_was_opened_up_is_closed_again(tmp_path):
    opened(tmp_path).close()
    (tmp_path / "prod/app-db").chmod(0o2775)

    opened(tmp_path).close()

    assert (tmp_path / "prod/app-db").stat().st_mode & 0o7777 == 0o700


@pytest.mark.parametrize("path", ["", "/etc", "..", "../x", "prod/../../x", "prod/./x", "prod//x", "prod/", "a\0b"])
def test_a_path_that_could_lead_elsewhere_is_refused(tmp_path, path):
    mount = tmp_path / "volume"
    mount.mkdir()

    assert isinstance(refusal(mount, path), OrderInvalid)
    assert list(tmp_path.rglob("*")) == [mount]


@pytest.mark.parametrize("at", ["prod", "prod/app-db"])
def test_a_link_below_the_mount_is_not_followed(tmp_path, at):
    (tmp_path / "outside").mkdir()
    (tmp_path / "volume/prod").mkdir(parents=at != "prod") if at != "prod" else (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / at).symlink_to(tmp_path / "outside")

    refused = refusal(tmp_path / "volume")

    assert refused.reason is Reason.STORE_PERMISSION
    assert "is a symbolic link" in refused.message
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_file_in_the_place_of_the_store_is_told(tmp_path):
    (tmp_path / "prod").write_text("x")

    assert "is not a directory" in refusal(tmp_path).message


def test_a_claim_that_is_not_mounted_is_told(tmp_path):
    refused = refusal(tmp_path / "backups")

    assert (refused.reason, refused.message) == (Reason.CLAIM_MISSING, "claim prod/backups is not mounted")


def test_reading_a_store_that_no_run_has_made_names_what_is_there_and_makes_nothing(tmp_path):
    (tmp_path / "prod/other").mkdir(parents=True)

    refused = refusal(tmp_path, create=False)

    assert (refused.reason, refused.detail) == (Reason.STORE_MISSING, "beside it there is: other")
    assert not (tmp_path / "prod/app-db").exists()


def test_a_directory_of_another_owner_is_told_with_the_command_to_type(tmp_path):
    opened(tmp_path).close()
    os.chown(tmp_path / "prod/app-db", NOBODY, NOBODY)

    refused = refusal(tmp_path)

    assert refused.reason is Reason.STORE_PERMISSION
    assert refused.detail == (
        f"found uid {NOBODY}, gid {NOBODY}, mode 0700; expected uid {os.geteuid()}, gid {os.getegid()}, mode 0700"
    )
    assert f"`chown -R {os.geteuid()}:{os.getegid()} {tmp_path}/prod/app-db`" in refused.hint


def reason_as_nobody(mount: Path) -> Reason | None:
    """What opening answers to an unprivileged worker, in a child of its own."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            opened(mount).close()
            os.write(writing, b"opened")
        except StoreError as exc:
            os.write(writing, exc.reason.value.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answers:
        answer = answers.read()
    os.wait()
    return None if answer == "opened" else Reason(answer)


@pytest.mark.parametrize(
    ("closed", "mode", "reason"),
    [
        (".", 0o755, Reason.STORE_PERMISSION),
        (".", 0o700, Reason.STORE_PERMISSION),
        ("prod", 0o755, Reason.STORE_PERMISSION),
        ("prod/app-db", 0o755, Reason.STORE_PERMISSION),
        ("prod/app-db", 0o777, None),
    ],
    ids=["mount not writable", "mount closed", "parent not writable", "store not writable", "all may write"],
)
def test_an_unprivileged_worker_is_told_what_keeps_it_out(public_place, closed, mode, reason):
    mount = public_place / "volume"
    deepest = mount / closed
    deepest.mkdir(parents=True)
    for path in [deepest, *deepest.parents]:
        if path.is_relative_to(mount):
            path.chmod(0o777)
    deepest.chmod(mode)

    assert reason_as_nobody(mount) == reason


def test_a_volume_mounted_read_only_is_told(small_volume):
    opened(small_volume).close()
    subprocess.run(["mount", "-o", "remount,ro", small_volume], check=True)

    assert refusal(small_volume).reason is Reason.CLAIM_READ_ONLY
    assert refusal(small_volume, "prod/new").reason is Reason.CLAIM_READ_ONLY
    opened(small_volume, create=False).close()


def test_use_is_measured_in_bytes_of_volume_and_store(small_volume):
    with opened(small_volume) as store:
        (store.directory / "file").write_bytes(b"x" * 5000)

        use = measure(store)

    assert (use.capacity_bytes, use.used_bytes, use.store_bytes) == (2 << 20, 8192, 5000)


def test_use_is_what_df_shows_where_root_has_a_reserve(tmp_path):
    """On a disk with reserved blocks: 47 % in use must not be told as 86 %."""
    with opened(tmp_path) as store:
        use = measure(store)
        shown = LocalShell().run("df", "--output=pcent", str(tmp_path)).decode().split()[-1]

    assert abs(use.used_percent - int(shown.rstrip("%"))) <= 1, "others write to this disk meanwhile"


def test_a_run_that_cannot_fit_is_refused_with_numbers(small_volume):
    with opened(small_volume) as store:
        require_space(store, None)
        require_space(store, (1 << 20) - 8192)
        with pytest.raises(StoreError) as refused:
            require_space(store, 5 << 20)

    assert refused.value.reason is Reason.STORAGE_FULL
    assert "2.0 MiB are free, the run may need 6.0 MiB" in refused.value.message
    assert "`kubectl -n prod edit pvc backups`" in refused.value.hint


def test_a_volume_without_room_for_the_record_is_refused(small_volume):
    with opened(small_volume) as store:
        (store.directory / "big").write_bytes(b"x" * ((2 << 20) - LEAST_ROOM_BYTES + 4096))

        with pytest.raises(StoreError, match="too full to begin"):
            require_space(store, None)


def test_a_volume_without_inodes_is_refused(small_volume):
    with opened(small_volume) as store:
        while os.statvfs(small_volume).f_favail:
            (store.directory / str(os.statvfs(small_volume).f_favail)).touch()

        with pytest.raises(StoreError, match="it has no free inode"):
            require_space(store, None)


def test_a_volume_that_fills_up_in_the_middle_is_told_and_keeps_what_was_there(small_volume):
    with opened(small_volume) as store:
        write_run(store, NIGHT)
        before = sorted(store.names())
        with pytest.raises(StoreError) as refused:
            write_run(store, NIGHT, content=b"x" * (3 << 20))

        assert refused.value.reason is Reason.STORAGE_FULL
        assert refused.value.message == "the volume of claim prod/backups is full"
        assert refused.value.detail == ("No space left on device, while writing backup_20231201_020001.sql.gz.gpg")
        assert sorted(store.names()) == before


@pytest.mark.parametrize(
    ("number", "reason", "message"),
    [
        (errno.ENOSPC, Reason.STORAGE_FULL, "the volume of claim x is full"),
        (errno.EDQUOT, Reason.QUOTA_EXCEEDED, "the quota on claim x is used up"),
        (errno.EROFS, Reason.CLAIM_READ_ONLY, "claim x is mounted read-only"),
        (errno.EACCES, Reason.STORE_PERMISSION, "claim x does not let the worker in"),
        (errno.EPERM, Reason.STORE_PERMISSION, "claim x does not let the worker in"),
        (errno.EIO, Reason.STORAGE_FAILED, "the volume of claim x answered with an error"),
        (errno.ESTALE, Reason.STORAGE_FAILED, "the volume of claim x answered with an error"),
    ],
)
def test_what_the_system_says_has_a_reason_and_words_of_its_own(number, reason, message):
    with pytest.raises(StoreError) as refused, storage_faults("claim x", "writing a"):
        raise OSError(number, os.strerror(number))

    assert (refused.value.reason, refused.value.message) == (reason, message)
    assert refused.value.detail == f"{os.strerror(number)}, while writing a"
    assert refused.value.hint
