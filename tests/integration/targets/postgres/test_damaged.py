"""A stored backup that is damaged anywhere: the restore fails before it has spoken to a server, and says why."""

import gzip
import json
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_operator.contract.restore import RestoreOrder, RestoreReport
from backup_operator.vocabulary.choices import Outcome
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.restore import restore
from backup_operator.worker.workplace import Workplace
from tests.integration.targets.postgres.packets import structures
from tests.integration.worker.conftest import PASSPHRASE, Bench, bench_in
from tests.integration.worker.ordering import restore_order
from tests.support.ports import free_port
from tests.support.postgres_server import PostgresServer

STRATEGIES = ("NewDatabase", "SwapDatabase", "InPlace")
OLD_FILE = "backup_20231201_020000.sql.gz.gpg"


@pytest.fixture(scope="module")
def intact(tmp_path_factory) -> Iterator[Bench]:
    """A store with one backup that is as it was written, made from a server that still runs."""
    with PostgresServer(15) as server:
        server.create_database("app")
        server.execute("create table users (id int primary key, name text)", "app")
        server.execute("insert into users select n, md5(n::text) from generate_series(1, 50000) n", "app")
        place = bench_in(tmp_path_factory.mktemp("intact"), postgres={"url": server.url("app")})
        code, _, said = place.run()
        assert code == 0, said
        yield place


@pytest.fixture
def place(intact, tmp_path) -> Bench:
    """The same store, to be damaged."""
    shutil.copytree(intact.directory, tmp_path / "place")
    order = json.loads(json.dumps(intact.order).replace(str(intact.directory), str(tmp_path / "place")))
    return Bench(tmp_path / "place", order)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Where a server would be; nobody may come."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


def _file(place: Bench) -> Path:
    (file,) = place.store.glob("backup_*.gpg")
    return file


def _entry(place: Bench) -> Path:
    (entry,) = place.store.glob("backup_*.json")
    return entry


def _named(place: Bench) -> dict[str, str]:
    """A selection of the backup by its name."""
    return {"name": _entry(place).stem}


def _flip(file: Path, position: int, bit: int = 1) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= bit
    file.write_bytes(content)


def _restore(place: Bench, url: str, strategy: str = "NewDatabase", **changes) -> RestoreReport:
    (place.directory / "target").write_text(url)
    target = {"url": {"path": str(place.directory / "target"), "described": "key URL"}, "strategy": strategy}
    order = restore_order(place, postgres=target, confirm="app", **changes)
    order["request"] |= {"uid": str(uuid.uuid4())}
    scratch = place.directory / "scratch"
    scratch.mkdir(exist_ok=True)
    return restore(RestoreOrder.model_validate(order), Workplace(scratch=scratch))


def _assert_refused(place: Bench, listener: socket.socket, *reasons: Reason, **changes) -> RestoreReport:
    """The restore fails for one of these reasons, and nobody has come to where the server would be."""
    url = f"postgresql://postgres:x@127.0.0.1:{listener.getsockname()[1]}/app"
    report = _restore(place, url, **changes)
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert report.outcome is Outcome.FAILED
    assert report.fault is not None
    assert report.fault.reason in reasons, report.fault
    assert "nothing was changed" in report.fault.message
    assert not list(place.store.glob("*.started"))
    return report


def test_the_intact_backup_does_reach_the_server(place):
    report = _restore(place, f"postgresql://postgres:x@127.0.0.1:{free_port()}/app")

    assert report.fault is not None
    assert report.fault.reason is Reason.CONNECTION_REFUSED


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_flipped_bit_in_any_structure_is_found(place, listener, strategy, where):
    whole = _file(place).read_bytes()
    for part in structures(whole):
        position = {"first": part.start, "middle": (part.start + part.end) // 2, "last": part.end - 1}[where]
        _flip(_file(place), position)

        report = _assert_refused(place, listener, Reason.VERIFICATION_FAILED, Reason.KEY_INVALID, strategy=strategy)

        assert report.steps[-1].name == "verify", part
        _file(place).write_bytes(whole)


def test_a_file_cut_at_any_structure_is_found(place, listener):
    whole = _file(place).read_bytes()
    cuts = {part.start for part in structures(whole)} | {len(whole) - 1}
    for cut in sorted(cuts):
        _file(place).write_bytes(whole[:cut])

        _assert_refused(place, listener, Reason.VERIFICATION_FAILED, Reason.KEY_INVALID, selection=_named(place))
        none = _assert_refused(place, listener, Reason.BACKUP_NOT_FOUND)
        assert none.fault is not None
        assert f"has {cut} bytes instead of {len(whole)}" in none.fault.detail


def test_bytes_behind_the_end_are_found(place, listener):
    with _file(place).open("ab") as file:
        file.write(b"\0")

    _assert_refused(place, listener, Reason.VERIFICATION_FAILED, selection=_named(place))


def test_a_flipped_bit_anywhere_in_the_entry_is_found(place, listener):
    whole = _entry(place).read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 60)):
        _flip(_entry(place), position)

        _assert_refused(place, listener, Reason.VERIFICATION_FAILED, Reason.BACKUP_NOT_FOUND, Reason.KEY_INVALID)
        _entry(place).write_bytes(whole)


@pytest.mark.parametrize("part", [0, 0.5, -1])
def test_a_cut_entry_is_no_backup(place, listener, part):
    whole = _entry(place).read_bytes()
    _entry(place).write_bytes(whole[: int(len(whole) * part) if part >= 0 else -2])

    _assert_refused(place, listener, Reason.VERIFICATION_FAILED, Reason.BACKUP_NOT_FOUND)


def test_a_missing_file_is_told(place, listener):
    _file(place).unlink()

    _assert_refused(place, listener, Reason.VERIFICATION_FAILED, Reason.BACKUP_NOT_FOUND)


def test_another_passphrase_opens_nothing(place, listener):
    (place.directory / "key").write_text("another horse battery staple")

    report = _assert_refused(place, listener, Reason.KEY_INVALID)

    assert PASSPHRASE not in report.model_dump_json()


def _run_gpg(key: Path, *arguments: str, content: bytes = b"") -> bytes:
    """The output of gpg, in a home that goes away with its agent."""
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        argv = ["gpg", "--homedir", home, "--batch", "--pinentry-mode", "loopback", "--passphrase-file", str(key)]
        done = subprocess.run([*argv, *arguments], input=content, capture_output=True, check=False)
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _gpg(place: Bench, content: bytes) -> None:
    """A file as the old scripts made it, of this content; no entry tells of it."""
    sealed = _run_gpg(place.directory / "key", "--symmetric", "--cipher-algo", "AES256", content=content)
    (place.store / OLD_FILE).write_bytes(sealed)


@pytest.fixture(scope="module")
def dump(intact) -> bytes:
    """The plain dump in the intact backup."""
    return gzip.decompress(_run_gpg(intact.directory / "key", "--decrypt", str(_file(intact))))


def test_an_old_file_that_is_whole_does_reach_the_server(place, dump):
    _gpg(place, gzip.compress(dump))

    report = _restore(place, f"postgresql://u:x@127.0.0.1:{free_port()}/app", selection={"name": OLD_FILE})

    assert report.fault is not None
    assert report.fault.reason is Reason.CONNECTION_REFUSED


CUTS = {
    "at a COPY line end": lambda dump: dump.index(b"\n", dump.index(b"COPY public.users") + 5000) + 1,
    "in the middle of a row": lambda dump: dump.index(b"\n", dump.index(b"COPY public.users") + 5000) - 5,
    "before the end of COPY": lambda dump: dump.index(b"\n\\.\n") + 1,
    "behind the end of COPY": lambda dump: dump.index(b"\n\\.\n") + 4,
    "between two statements": lambda dump: dump.index(b"ALTER TABLE ONLY"),
    "before the end comment": lambda dump: dump.rindex(b"--\n-- PostgreSQL database dump complete"),
    "to nothing": lambda _: 0,
}
INCOMPLETE = (Reason.DUMP_INCOMPLETE, Reason.VERIFICATION_FAILED)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
def test_an_old_file_whose_dump_was_cut_never_reaches_the_server(place, listener, dump, cut, strategy):
    _gpg(place, gzip.compress(dump[: cut(dump)], 1))

    _assert_refused(place, listener, *INCOMPLETE, selection={"name": OLD_FILE}, strategy=strategy)


@pytest.mark.parametrize("position", [-1, -4, -5, -8], ids=["size", "size's end", "checksum", "checksum's end"])
def test_an_old_file_with_a_wrong_gzip_trailer_never_reaches_the_server(place, listener, dump, position):
    packed = bytearray(gzip.compress(dump, 1))
    packed[position] ^= 1
    _gpg(place, bytes(packed))

    _assert_refused(place, listener, *INCOMPLETE, selection={"name": OLD_FILE})


def test_an_old_file_whose_gzip_was_cut_never_reaches_the_server(place, listener, dump):
    packed = gzip.compress(dump, 1)
    for size in (0, 5, 10, len(packed) // 2, len(packed) - 8, len(packed) - 1):
        _gpg(place, packed[:size])

        _assert_refused(place, listener, *INCOMPLETE, selection={"name": OLD_FILE})
