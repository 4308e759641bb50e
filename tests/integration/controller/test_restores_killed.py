"""The operator is killed while a restore runs: no second Job, and an end for one that went meanwhile."""

import pytest

from tests.integration.controller.operating import OperatorProcess
from tests.integration.controller.test_restores import (
    OF_REQUESTS,
    request,
    restore_jobs,
    true_conditions,
    wait_for_state,
    with_policy,
)
from tests.support.kubectl import Namespace


@pytest.fixture
def served(operator: OperatorProcess, namespace: Namespace) -> Namespace:
    """The namespace, with a policy and its claim, and an operator of its own."""
    return with_policy(namespace)


def test_an_operator_that_is_killed_makes_no_second_job(served: Namespace, operator: OperatorProcess):
    served.apply(request())
    wait_for_state(served, "Running", says="cannot be pulled")
    (before,) = served.list("job", OF_REQUESTS)

    operator.kill()
    operator.start()
    served.apply(request("next"))
    wait_for_state(served, "Waiting", "next", says="RestoreRequest back has begun, goes to the server of Secret")

    (after,) = served.list("job", OF_REQUESTS)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_a_job_that_went_while_the_operator_was_away_is_not_made_again(served: Namespace, operator: OperatorProcess):
    served.apply(request())
    status = wait_for_state(served, "Running")

    operator.kill()
    served.delete("job", status["jobName"])
    operator.start()

    wait_for_state(served, "Failed")
    assert true_conditions(served) == {"Failed": "JobLost"}
    assert restore_jobs(served) == []
