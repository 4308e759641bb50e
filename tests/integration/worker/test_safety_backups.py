"""Safety backups: made before anything is lost, named apart, chosen by name only, kept for a week."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from backup_operator.contract.restore import RestoreOrder
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.cli import main
from backup_operator.worker.errors import TargetError
from backup_operator.worker.safety import back_up_target
from backup_operator.worker.sources.redis_restores import CONNECTION_NAME
from backup_operator.worker.store.audit import verify_audit
from backup_operator.worker.store.layout import open_store
from backup_operator.worker.workplace import Workplace
from tests.integration.worker.ordering import back_up_at, in_process, restore_order, secret_file
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer

NIGHT = datetime(2023, 12, 1, 2, 0, 0, tzinfo=UTC)
TODAY = datetime(2023, 12, 9, 9, 30, tzinfo=UTC)
SAFETY = "safety_20231209_093000"


@pytest.fixture
def server():
    with RedisServer() as one, one.client() as client:
        client.mset({f"key{number}": number for number in range(30)})
        yield one


@pytest.fixture
def place(bench, server):
    made = bench(redis={"url": server.url()})
    back_up_at(made, NIGHT)
    return made


def _replace(place, at=TODAY, number=0, **changes):
    """Another request, with a uid of its own, that overwrites the server."""
    uid = f"00000000-0000-0000-0000-{number:012}"
    request = {"namespace": "ns", "name": f"back-{number}", "uid": uid, "asked_by": "jane"}
    target = {"url": place.order["redis"]["url"], "strategy": "Replace"}
    return in_process(place, at, request=request, redis=target, confirm="127.0.0.1/all", **changes)


def _safety_files(place) -> list[str]:
    own = {".lock", "audit.jsonl", "RECOVER.md"}
    return sorted(path.name for path in (place.store / "safety").iterdir() if path.name not in own)


def test_what_was_overwritten_comes_back_by_the_name_in_the_report(place, server):
    with server.client() as client:
        client.set("made since", "1")
        overwritten = _replace(place, number=1)
        after = client.exists("made since")
        undone = _replace(place, TODAY + timedelta(minutes=5), 2, selection={"name": overwritten.safety_backup})

        assert overwritten.fault is None, overwritten.fault
        assert overwritten.safety_backup == SAFETY
        assert after == 0
        assert undone.fault is None, undone.fault
        assert undone.run == SAFETY
        assert client.exists("made since") == 1
        assert client.dbsize() == 31
    assert "The safety backup safety_20231209_093000 of ns/back-1" in undone.plan[0]


@pytest.mark.parametrize("selection", [{"latest": True}, {"before": "2023-12-10T00:00:00Z"}], ids=["latest", "before"])
def test_a_safety_backup_is_never_chosen_by_time(place, selection):
    _replace(place, number=1)

    report = in_process(place, TODAY + timedelta(days=1), dry_run=True, selection=selection)

    assert report.run == "redis_20231201_020000"


def test_the_list_shows_safety_backups_apart(place, capsys):
    _replace(place, number=1)
    words = ["list", "--store", str(place.store), "--passphrase-file", str(place.directory / "key")]

    main(words)
    page = capsys.readouterr().out
    main([*words, "--json"])
    listed = json.loads(capsys.readouterr().out)

    series, _, safety = page.partition("Safety backups, chosen by name only")
    assert "redis_20231201_020000 " in series
    assert SAFETY not in series
    assert SAFETY in safety
    assert [backup["name"] for backup in listed["backups"]] == ["redis_20231201_020000"]
    assert [(backup["name"], backup["keys"]) for backup in listed["safety"]] == [(SAFETY, 30)]


def test_a_safety_backup_is_kept_for_a_week_and_its_deletion_is_told(place):
    _replace(place, number=1)
    _replace(place, TODAY + timedelta(days=6), 2)
    kept = _safety_files(place)
    _replace(place, TODAY + timedelta(days=7, minutes=1), 3)

    assert len(kept) == 4
    assert _safety_files(place) == [
        f"redis_202312{day}_{second}{suffix}"
        for day, second in (("15", "093000"), ("16", "093100"))
        for suffix in (".json", ".rdb.gz.gpg")
    ]
    with open_store(place.store, "safety", described="claim", create=False) as safety:
        trail = verify_audit(safety)
    assert trail.faults == ()
    assert [event["run"] for event in trail.events if event["event"] == "deletion"] == ["redis_20231209_093000"]


def test_a_safety_backup_that_is_being_restored_is_not_deleted_though_a_week_is_over(place):
    _replace(place, number=1)

    undone = _replace(place, TODAY + timedelta(days=8), 2, selection={"name": SAFETY})

    assert undone.fault is None, undone.fault
    assert "redis_20231209_093000.json" in _safety_files(place)


def test_what_a_dead_deletion_left_is_removed(place):
    _replace(place, number=1)
    safety = place.store / "safety"
    (safety / "redis_20231209_093000.json").rename(safety / "redis_20231209_093000.json.deleting")

    _replace(place, TODAY + timedelta(days=1), 2)

    assert [name for name in _safety_files(place) if "20231209" in name] == []


def test_a_target_that_cannot_be_backed_up_first_is_not_touched(place, server):
    key = secret_file(place, "SHORT", "short")
    with server.client() as client:
        client.set("made since", "1")
        report = _replace(place, number=1, passphrases=[key, place.order["passphrase"]])

        assert report.fault is not None
        assert report.fault.reason is Reason.SAFETY_BACKUP_FAILED
        assert "nothing was changed" in report.fault.message
        assert client.dbsize() == 31


def test_a_safety_backup_that_meets_another_restore_promises_no_next_run(place, server):
    target = {"url": place.order["redis"]["url"], "strategy": "Replace"}
    order = RestoreOrder.model_validate(restore_order(place, redis=target, confirm="127.0.0.1/all"))
    with server.client() as client:
        client.client_setname(CONNECTION_NAME)

        with pytest.raises(TargetError) as refused:
            back_up_target(order, Workplace(scratch=place.directory), ())

    assert refused.value.hint == "When that restore has ended, make a new RestoreRequest; see: kubectl get rr -A"


def test_an_empty_database_needs_no_safety_backup(bench):
    with PostgresServer(15) as server:
        server.create_database("app")
        server.execute("create table users (id int); insert into users values (1), (2)", "app")
        place = bench(postgres={"url": server.url("app")})
        back_up_at(place, NIGHT)
        server.execute("drop table users", "app")

        target = {"url": place.order["postgres"]["url"], "strategy": "InPlace"}
        report = in_process(place, TODAY, postgres=target, confirm="app")

        assert report.fault is None, report.fault
        assert server.rows("select id from users order by id", "app") == [(1,), (2,)]
    assert report.safety_backup == ""
    assert "held nothing" in report.notes[0]
    assert not list((place.store / "safety").glob("*.gpg"))


def test_the_database_that_is_overwritten_is_backed_up_and_not_the_one_of_the_url(bench):
    with PostgresServer(15) as server:
        server.create_database("app")
        server.execute("create table users (id int); insert into users values (1), (2)", "app")
        server.create_database("other")
        server.execute("create table users (id int); insert into users values (7)", "other")
        place = bench(postgres={"url": server.url("app")})
        back_up_at(place, NIGHT)

        target = {"url": place.order["postgres"]["url"], "strategy": "InPlace", "database": "other"}
        report = in_process(place, TODAY, postgres=target, confirm="other")

        assert report.fault is None, report.fault
        assert server.rows("select id from users order by id", "other") == [(1,), (2,)]
    entry = json.loads((place.store / "safety" / "backup_20231209_093000.json").read_text())
    assert entry["server"]["database"] == "other"
    assert entry["artifacts"][0]["rows_per_table"] == {"public.users": 1}
