"""`backup-worker run` with a restore order: whatever happens, a report that fits, and an exit code that is final."""

import signal

import pytest

from backup_operator.contract.exits import Exit
from backup_operator.vocabulary.choices import Outcome
from backup_operator.vocabulary.reasons import Reason
from tests.integration.worker.ordering import ended, restore_order, run_order, start_order
from tests.support.postgres_server import wait_until

COUNT = "select count(*) from users"


@pytest.fixture
def place(bench, postgres):
    """A store with one backup of the server's database."""
    made = bench(postgres={"url": postgres.url()})
    made.run()
    return made


def _databases(server) -> list[str]:
    return [name for (name,) in server.rows("select datname from pg_database order by 1")]


def _target(place, **options):
    return {"url": place.order["postgres"]["url"]} | options


def test_a_plan_is_reported_and_told_in_full(place, postgres):
    databases = _databases(postgres)

    ran = run_order(place, dry_run=True)

    assert ran.code == Exit.OK, ran.said
    assert ran.report.outcome is Outcome.SUCCEEDED
    assert ran.report.dry_run
    assert ran.report.pin
    assert ran.report.plan
    assert ran.said.count(" INFO plan line=") == len(ran.report.plan)
    assert _databases(postgres) == databases


def test_an_approved_plan_brings_the_rows_back(place, postgres):
    target = _target(place, database="approved")
    planned = run_order(place, dry_run=True, postgres=target)

    ran = run_order(place, approved=planned.report.pin, postgres=target)

    assert ran.code == Exit.OK, ran.said
    assert ran.report.fault is None
    assert ran.report.counted == 1000
    assert [step.name for step in ran.report.steps][:3] == ["choose", "verify", "survey"]
    assert postgres.rows(COUNT, "approved") == [(1000,)]


def test_a_failure_that_heals_is_not_tried_again(place):
    (place.directory / "nowhere").write_text("postgresql://u:p@127.0.0.1:1/app")
    url = {"path": str(place.directory / "nowhere"), "described": "key URL of Secret ns/app"}

    ran = run_order(place, postgres={"url": url})

    assert ran.code == Exit.FINAL
    assert ran.report.fault is not None
    assert ran.report.fault.reason is Reason.CONNECTION_REFUSED
    assert not ran.report.fault.retryable


def test_a_restore_that_is_stopped_says_so_and_is_final(place, postgres):
    with postgres.connect() as holder:
        holder.execute("begin")
        holder.execute("lock table users")
        target = _target(place, strategy="InPlace")
        order = restore_order(place, postgres=target, confirm="postgres", safety_backup=False)
        process = start_order(place, order)
        waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        wait_until(lambda: postgres.rows(waiting) != [(0,)], "the restore waits for the lock")
        process.send_signal(signal.SIGTERM)
        ran = ended(place, process)

    assert ran.code == Exit.FINAL
    assert ran.report.fault is not None
    assert ran.report.fault.reason is Reason.INTERRUPTED
    assert "never tried again" in ran.report.fault.hint
    assert postgres.rows(COUNT) == [(1000,)]


def test_a_restore_that_is_killed_is_not_begun_again(place, postgres):
    target = _target(place, strategy="InPlace")
    order = restore_order(place, postgres=target, confirm="postgres", safety_backup=False)
    with postgres.connect() as holder:
        holder.execute("begin")
        holder.execute("lock table users")
        process = start_order(place, order)
        waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        wait_until(lambda: postgres.rows(waiting) != [(0,)], "the restore waits for the lock")
        process.kill()
        process.communicate(timeout=300)

    again = run_order(place, postgres=target, confirm="postgres", safety_backup=False)

    assert again.code == Exit.FINAL
    assert again.report.fault is not None
    assert again.report.fault.reason is Reason.ALREADY_STARTED
    assert postgres.rows(COUNT) == [(1000,)]


def test_a_deadline_that_passes_is_reported(place):
    ran = run_order(place, deadline="PT0.01S")

    assert ran.code == Exit.FINAL
    assert ran.report.fault is not None
    assert ran.report.fault.reason is Reason.DEADLINE_EXCEEDED
    assert ran.report.fault.message.endswith("; nothing was changed")
