"""Claims that are made of templates on a real API server, with the chart's rights: made once, and left alone."""

from typing import Any

import pytest

from tests.integration.controller.test_policies import OURS, POLICY, conditions, policy, wait_for
from tests.support.kubectl import Namespace
from tests.support.polling import wait_until

pytestmark = pytest.mark.usefixtures("operator")

CLAIM = "app-db-backups"
NO_CLASS = "there-is-no-such-class"


def template(size: str = "1Mi", **more: Any) -> dict[str, Any]:
    """Storage on a claim of the operator's making."""
    return {"storage": {"claimTemplate": {"size": size, **more}}}


def claim(namespace: Namespace) -> dict[str, Any]:
    """The claim when it is there."""
    return wait_until(lambda: namespace.find("persistentvolumeclaim", CLAIM), bool, for_what="the claim")


def quota(claims: int) -> dict[str, Any]:
    """So many claims and no more."""
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "claims"},
        "spec": {"hard": {"persistentvolumeclaims": str(claims)}},
    }


def test_a_claim_is_made_of_the_template_and_belongs_to_nobody(namespace: Namespace):
    namespace.apply(policy(**template(storageClassName=NO_CLASS)))

    wait_for(namespace, Accepted="Accepted", Scheduled="Scheduled")

    made = claim(namespace)
    assert "ownerReferences" not in made["metadata"]
    assert made["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "backup-operator",
        "backup.agentsflow.ai/policy": "app-db",
    }
    assert made["spec"]["storageClassName"] == NO_CLASS
    assert made["spec"]["resources"]["requests"]["storage"] == "1Mi"
    mounted = namespace.get("cronjob", "app-db")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"]
    assert {"claimName": CLAIM} in [volume.get("persistentVolumeClaim") for volume in mounted]


def test_a_claim_outlives_its_policy_and_one_that_is_made_again_takes_it_up(namespace: Namespace):
    namespace.apply(policy(**template()))
    first = wait_for(namespace, Scheduled="Scheduled")["metadata"]["uid"]
    before = claim(namespace)

    namespace.delete(POLICY, "app-db")
    wait_until(lambda: namespace.list("cronjob"), lambda left: left == [], for_what="no CronJob")
    namespace.apply(policy(**template("2Mi")))

    found = wait_for(namespace, Scheduled="Scheduled")
    after = claim(namespace)
    assert found["metadata"]["uid"] != first
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["resources"]["requests"]["storage"] == "1Mi", "a template is no wish to resize"
    assert found["status"]["store"] == f"{CLAIM}:{namespace.name}/app-db"


def test_a_quota_that_refuses_the_claim_is_named_and_nothing_is_started(namespace: Namespace):
    namespace.apply(quota(0))
    wait_until(
        lambda: namespace.get("resourcequota", "claims").get("status", {}).get("hard"), bool, for_what="the quota"
    )
    namespace.apply(policy(**template()))

    found = wait_for(namespace, Accepted="Accepted", Scheduled="ApplyRefused", Ready="ApplyRefused")

    assert f"refused claim {namespace.name}/{CLAIM}" in found["status"]["message"]
    assert "exceeded quota: claims" in found["status"]["message"]
    assert [*namespace.list("cronjob"), *namespace.list("job", OURS)] == []
    namespace.delete("resourcequota", "claims")
    # it is tried again every minute; a change of the spec is not waited for that long
    namespace.patch(POLICY, "app-db", {"spec": {"schedule": "@daily"}})
    wait_for(namespace, Scheduled="Scheduled")
    claim(namespace)


def test_a_claim_of_a_class_that_is_not_there_is_said_of_the_run_and_of_the_storage(namespace: Namespace):
    namespace.apply(policy(**template(storageClassName=NO_CLASS)))
    wait_for(namespace, Scheduled="Scheduled")

    namespace.kubectl("create", "job", "--from=cronjob/app-db", "by-hand")

    found = wait_for(namespace, LastRunSucceeded="ClaimPending")
    words = {one["type"]: one["message"] for one in found["status"]["conditions"]}
    assert NO_CLASS in words["LastRunSucceeded"]
    wait_until(
        lambda: conditions(namespace).get("StorageAvailable"),
        lambda reason: reason == "ClaimPending",
        for_what="the storage to be called unavailable",
    )
