"""The operator killed in the middle of a restore: it goes on as if nothing had happened, and runs once."""

import pytest

from tests.e2e.test_outages import BACK_SECONDS, kill_operator
from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.locks import reader_of, wait_for_a_waiting_restore
from tests.support.policies import Policy
from tests.support.polling import wait_until
from tests.support.restores import Restore, into_postgres, of_policy, restore_request
from tests.support.servers import Servers, small_database

pytestmark = pytest.mark.alone


def test_a_restore_outlives_the_operator_that_began_it(namespace: Namespace, operator: Namespace):
    site = Servers(namespace, "operator gone")
    site.start("postgres")
    victim = site.create_database("app", small_database())
    namespace.apply(site.app_secret(), objects.claim("backups"))
    namespace.apply(objects.backup_policy("db", objects.postgres_source()))
    Policy(namespace, "db").back_up("db-now")
    victim.query("DELETE FROM visits")
    request = restore_request("back", into_postgres(strategy="InPlace"), origin=of_policy("db"), confirm="app")
    done = Restore(namespace, "back")

    with reader_of("users", victim):
        namespace.apply(request)
        wait_until(lambda: done.status, lambda seen: seen.get("state") == "Running", for_what="the marker")
        kill_operator(operator)
        wait_for_a_waiting_restore(victim)
        kill_operator(operator)
    status = done.wait_for_state("Complete", "Failed", timeout_seconds=BACK_SECONDS)

    assert status["state"] == "Complete", status
    assert victim.rows_per_table() == {"public.users": 1000, "public.visits": 500}
    pods = namespace.list("pod", "backup.agentsflow.ai/request=back")
    assert len(done.jobs) == len(pods) == 1
