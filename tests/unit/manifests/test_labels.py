"""Names and labels: what fits stays, what does not keeps its beginning and a hash."""

from backup_operator.manifests.labels import (
    CRONJOB_NAME_LIMIT,
    LABEL_LIMIT,
    Work,
    cronjob_name,
    inventory_job_name,
    policy_labels,
    policy_of,
    request_labels,
    request_of,
    request_selector,
)

LONG = "a" * 50 + "." + "b" * 63 + "." + "c" * 100


def test_long_names_that_differ_at_the_end_stay_different():
    assert cronjob_name(LONG + "x") != cronjob_name(LONG + "y")
    assert len(cronjob_name(LONG)) <= CRONJOB_NAME_LIMIT


def test_the_name_of_a_cronjob_with_the_minutes_that_kubernetes_adds_fits_a_job():
    assert len(cronjob_name(LONG) + "-29999999") <= 63


def test_an_inventory_job_has_the_same_name_for_the_same_cause_only():
    assert inventory_job_name(LONG, "uid", "a") == inventory_job_name(LONG, "uid", "a")
    assert inventory_job_name(LONG, "uid", "a") != inventory_job_name(LONG, "uid", "b")
    assert inventory_job_name(LONG, "uid", "a") != inventory_job_name(LONG, "other uid", "a")
    assert len(inventory_job_name(LONG, "uid", "a")) <= 63


def test_label_values_fit():
    assert all(len(value) <= LABEL_LIMIT for value in policy_labels(LONG).values())


def test_a_child_is_known_by_its_annotation_and_a_stranger_is_not():
    ours = {"metadata": {"labels": policy_labels(LONG), "annotations": {"backup.agentsflow.ai/policy-name": LONG}}}

    assert policy_of(ours) == LONG
    assert policy_of({"metadata": {"labels": {}, "annotations": ours["metadata"]["annotations"]}}) is None
    assert policy_of({"metadata": {"labels": policy_labels("x")}}) is None


def test_a_restores_children_are_selected_by_its_labels_and_are_no_policys():
    labels = request_labels(LONG, Work.RESTORE)
    child = {"metadata": {"labels": labels, "annotations": {"backup.agentsflow.ai/request-name": LONG}}}

    assert dict(pair.split("=") for pair in request_selector(LONG).split(",")).items() < labels.items()
    assert all(len(value) <= LABEL_LIMIT for value in labels.values())
    assert (request_of(child), policy_of(child)) == (LONG, None)
    assert request_of({"metadata": {"annotations": child["metadata"]["annotations"]}}) is None
