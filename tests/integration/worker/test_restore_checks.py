"""Checks in a restore order: what they find is in the report, and a failing one says what is in the target now."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from backup_operator.contract.exits import Exit
from backup_operator.contract.restore import RestoreOrder
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.restore import restore
from backup_operator.worker.workplace import Workplace
from tests.integration.worker.ordering import restore_order, run_order

ROWS = {"name": "rows", "sql": "select count(*) from users", "minimum": 1000}
FRESH = {"name": "fresh", "sql": "select now()", "newest_within": "PT1H"}


@pytest.fixture
def place(bench, postgres):
    made = bench(postgres={"url": postgres.url()})
    made.run()
    return made


@pytest.fixture
def application():
    """Answers 200 on every path while the restored database is there, and is asked only then."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, format, *args):  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/health"
        server.shutdown()
        thread.join()


def _databases(server):
    return [name for (name,) in server.rows("select datname from pg_database order by 1")]


def _into(place, database):
    return {"url": place.order["postgres"]["url"], "database": database}


def _passing(waited):
    return lambda seconds: waited.append(waited[-1] + seconds)


def test_checks_that_hold_are_reported(place, postgres, application):
    health = {"name": "health", "http_url": application}

    ran = run_order(place, postgres=_into(place, "checked"), checks=[health, ROWS, FRESH])

    assert ran.code == Exit.OK, ran.said
    assert [(check.name, check.passed) for check in ran.report.checks] == [
        ("rows", True),
        ("fresh", True),
        ("health", True),
    ]
    assert [step.name for step in ran.report.steps][-3:] == ["checks", "rename", "http checks"]
    assert "Checked afterwards: health, rows, fresh." in ran.report.plan


def test_a_failing_query_leaves_nothing_and_is_reported(place, postgres):
    databases = _databases(postgres)

    ran = run_order(place, postgres=_into(place, "unchecked"), checks=[FRESH, ROWS | {"minimum": 1001}])

    assert ran.code == Exit.FINAL
    assert ran.report.fault is not None
    assert ran.report.fault.reason is Reason.CHECK_FAILED
    assert "was dropped again; nothing else was touched" in ran.report.fault.message
    assert ran.report.fault.detail == "rows: expected at least 1001, found 1000"
    assert [(check.found, check.passed) for check in ran.report.checks][1:] == [("1000", False)]
    assert _databases(postgres) == databases


def test_an_application_that_stays_ill_fails_a_restore_that_is_done(place, postgres, application, tmp_path):
    health = {"name": "health", "http_url": application, "http_status": 204}
    order = RestoreOrder.model_validate(restore_order(place, postgres=_into(place, "ill"), checks=[health]))
    waited = [0.0]

    report = restore(order, Workplace(scratch=tmp_path, clock=lambda: waited[-1], wait=_passing(waited)))

    assert report.fault is not None
    assert report.fault.message == "1 of 1 checks does not hold. The backup is in the new database 'ill'."
    assert report.fault.detail == "health: expected status 204, found status 200"
    assert waited[-1] == 60
    assert report.counted == 1000
    assert report.undo == ('DROP DATABASE "ill";',)
    assert postgres.rows("select count(*) from users", "ill") == [(1000,)]


def test_a_check_of_another_kind_of_target_is_refused_before_anything_is_read(place):
    ran = run_order(place, checks=[{"name": "keys", "redis_database": 0, "minimum": 1}])

    assert ran.code == Exit.FINAL
    assert ran.report.fault is not None
    assert ran.report.fault.reason is Reason.ORDER_INVALID
    assert "'keys' asks a Redis server" in ran.report.fault.message
    assert ran.report.steps == ()
