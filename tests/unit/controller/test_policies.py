"""A policy's inventories, its claim, what a person accepted, and a clock that is moved."""

import copy
from datetime import timedelta
from typing import Any

import pytest

from backup_operator.api.meta import ACCEPTED_ANNOTATION
from backup_operator.controller.cluster import CLAIMS, CRONJOBS, JOBS, POLICIES, Key, Refused
from backup_operator.manifests.labels import Work
from tests.unit.controller.policing import HOUR, NAME, NAMESPACE, NOW, TEMPLATE, World, policy, stored

STORE = stored(HOUR, 25 * HOUR, 49 * HOUR)
RULES: dict[str, Any] = {"retention": {"maxAge": "7d"}}
OTHER_RULES: dict[str, Any] = {"retention": {"keepLast": 2}}
AHEAD = {"CLOCK_OFFSET_SECONDS": str(40 * 86400)}
CLAIM = Key(NAMESPACE, "app-db-backups")


def settled(*, store: Any = STORE, environment: dict[str, str] | None = None, **spec: Any) -> World:
    """A policy whose store was read."""
    world = World(store=store, **(environment or {}))
    world.put(policy(**spec))
    world.settle()
    return world


def refuse(world: World, call: str, refusal: Refused) -> None:
    """Let one kind of call fail from now on."""

    def check(made: str) -> None:
        if made == call:
            raise refusal

    world.cluster.before_call = check


class TestInventories:
    def test_a_new_policy_reads_its_store_once(self):
        world = settled()

        assert world.inventories_created() == 1
        assert world.status()["backupCount"] == 3

    def test_changed_rules_are_tried_on_the_store_once(self):
        world = settled(**RULES)

        world.now += timedelta(seconds=10)
        world.put(policy(generation=2, **OTHER_RULES))
        world.settle()

        assert world.inventories_created() == 2
        assert world.status()["retention"]["rulesDigest"] == world.rules().digest

    def test_rules_that_go_back_and_forth_are_tried_each_time(self):
        world = settled(**RULES)

        for generation, rules in enumerate([OTHER_RULES, RULES, OTHER_RULES], 2):
            world.now += timedelta(seconds=10)
            world.put(policy(generation=generation, **rules))
            world.settle()

        assert world.inventories_created() == 4, "the Jobs of the first edits are still there"

    def test_an_edit_of_something_else_reads_nothing(self):
        world = settled(**RULES)

        world.put(policy(generation=2, schedule="@hourly", **RULES))
        world.settle()

        assert world.inventories_created() == 1

    def test_an_edit_while_a_worker_reads_waits_for_its_end(self):
        world = settled(**RULES)
        world.put(policy(generation=2, **OTHER_RULES))
        world.settle(workers=False)

        world.put(policy(generation=3, retention={"keepLast": 9}))
        world.settle(workers=False)

        assert world.inventories_created() == 2
        world.now += timedelta(seconds=10)
        world.settle()
        assert world.inventories_created() == 3
        assert world.status()["retention"]["rulesDigest"] == world.rules().digest

    def test_an_operator_that_comes_to_rules_it_never_knew_starts_no_storm(self):
        world = World(store=STORE)
        world.put({**policy(), "status": {"store": "backups:prod/app-db", "backupCount": 3}})

        world.settle()

        assert world.inventories_created() == 0

    def test_a_dry_run_of_which_nothing_is_known_is_tried(self):
        world = World(store=STORE)
        dry: dict[str, Any] = {"retention": {"maxAge": "7d", "dryRun": True}}
        world.put({**policy(**dry), "status": {"store": "backups:prod/app-db", "backupCount": 3}})

        world.settle()

        assert world.inventories_created() == 1

    def test_an_empty_store_is_read_once_whatever_the_rules(self):
        world = settled(store=(), retention={"dryRun": True})

        world.put(policy(generation=2, retention={"dryRun": True, "keepLast": 9}))
        world.settle()

        assert world.inventories_created() == 1

    def test_the_words_of_the_rules_are_in_the_status(self):
        assert settled(**RULES).status()["keeps"] == "7d, at least 3"


def test_what_a_person_accepts_wakes_the_operator_and_is_in_the_next_order():
    world = settled()
    accepted = policy()
    accepted["metadata"]["annotations"] = {ACCEPTED_ANNOTATION: "backup_20261124_010000"}
    world.put(accepted)

    is_news = world.memory.learn_policy(world.cluster.objects[POLICIES.plural, Key(NAMESPACE, NAME)])
    world.settle()

    assert is_news
    assert world.order().accepted_run == "backup_20261124_010000"


class TestClaims:
    def test_a_claim_is_made_of_the_template_and_has_no_owner(self):
        world = settled(storage=TEMPLATE)

        (claim,) = world.claims()
        assert claim["metadata"]["name"] == CLAIM.name
        assert "ownerReferences" not in claim["metadata"]
        assert claim["spec"] == {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "20Gi"}},
            "storageClassName": "fast",
        }
        assert world.status()["store"] == "app-db-backups:prod/app-db"

    def test_a_claim_that_is_there_is_used_as_it_is(self):
        world = World()
        theirs = {"metadata": {"namespace": NAMESPACE, "name": CLAIM.name}, "spec": {"volumeName": "old"}}
        world.cluster.put(CLAIMS, theirs)
        before = copy.deepcopy(world.claims())

        world.put(policy(storage=TEMPLATE))
        world.settle()
        world.put(policy(generation=2, storage={"claimTemplate": {"size": "40Gi"}}))
        world.settle()

        assert world.claims() == before

    def test_a_claim_that_is_named_is_not_made(self):
        assert settled().claims() == []

    def test_a_refused_claim_is_said_and_nothing_that_could_not_write_is_started(self):
        world = World()
        refuse(world, "create persistentvolumeclaims", Refused(403, 'exceeded quota: "small"'))
        world.put(policy(storage=TEMPLATE))

        world.settle()

        assert world.conditions()["Scheduled"] == ("False", "ApplyRefused")
        assert "refused claim prod/app-db-backups" in world.message("Scheduled")
        assert 'exceeded quota: "small"' in world.message("Scheduled")
        assert [*world.cluster.all(CRONJOBS), *world.cluster.all(JOBS)] == []
        pause = world.reconcile()
        assert pause is not None
        assert pause <= timedelta(minutes=1), "it is tried again"

    def test_a_claim_that_was_refused_is_made_when_it_can_be(self):
        world = World()
        refuse(world, "create persistentvolumeclaims", Refused(403, "exceeded quota"))
        world.put(policy(storage=TEMPLATE))
        world.settle()

        world.cluster.before_call = lambda _call: None
        world.settle()

        assert world.conditions()["Scheduled"] == ("True", "Scheduled")
        assert (len(world.claims()), world.inventories_created()) == (1, 1)

    def test_a_claim_that_is_being_deleted_is_said(self):
        world = settled(storage=TEMPLATE)
        (claim,) = world.claims()
        claim["metadata"]["deletionTimestamp"] = NOW.isoformat()
        world.cluster.put(CLAIMS, claim)

        world.settle()

        assert world.conditions()["Scheduled"] == ("False", "ApplyRefused")
        assert "being deleted" in world.message("Scheduled")
        assert len(world.cluster.all(CRONJOBS)) == 1

    def test_a_claim_outlives_its_policy_which_finds_everything_again(self):
        world = settled(storage=TEMPLATE)
        before = world.claims()

        world.remove()
        world.settle()
        world.put(policy(uid="uid-2", storage=TEMPLATE))
        world.settle()

        assert world.claims() == before
        assert world.status()["backupCount"] == 3
        assert world.status()["lastSuccessfulBackup"]["name"] == STORE[0].name


@pytest.mark.parametrize("storage", [TEMPLATE, {"claimName": CLAIM.name}], ids=["of a template", "of a person's"])
def test_a_claim_that_was_deleted_and_made_again_is_read_anew(storage: dict[str, Any]):
    world = World(store=STORE)
    world.cluster.put(CLAIMS, {"metadata": {"namespace": NAMESPACE, "name": CLAIM.name}, "spec": {}})
    world.put(policy(storage=storage))
    world.settle()
    (cronjob,) = world.cluster.all(CRONJOBS)
    template = cronjob["spec"]["jobTemplate"]
    run = {"metadata": {**template["metadata"], "namespace": NAMESPACE, "name": "run"}, "spec": template["spec"]}
    world.end(world.cluster.put(JOBS, run), world.good_run(STORE[0]))
    world.settle()

    world.cluster.remove(CLAIMS, CLAIM)
    world.now += HOUR
    world.cluster.birth = world.now.isoformat()
    world.store = ()
    if "claimName" in storage:
        world.cluster.put(CLAIMS, {"metadata": {"namespace": NAMESPACE, "name": CLAIM.name}, "spec": {}})
    before = world.status()
    world.settle()

    assert (before["backupCount"], before["lastSuccessfulBackup"]["name"]) == (3, STORE[0].name)
    assert world.status()["backupCount"] == 0
    assert "lastSuccessfulBackup" not in world.status()
    assert world.conditions()["Fresh"] == ("False", "NeverSucceeded")
    for job in world.jobs(Work.INVENTORY):
        world.cluster.remove(JOBS, Key(NAMESPACE, job["metadata"]["name"]))
    world.settle()
    assert world.conditions()["Fresh"] == ("False", "NeverSucceeded"), "what the run of before said is of no store"


class TestMovedClock:
    def test_freshness_is_judged_by_it(self):
        world = settled(environment=AHEAD)

        assert world.conditions()["Fresh"] == ("False", "ObjectiveExceeded")
        assert settled().conditions()["Fresh"][0] == "True"

    def test_a_job_that_the_api_server_has_just_made_is_no_older_for_it(self):
        world = settled(environment=AHEAD)
        (cronjob,) = world.cluster.all(CRONJOBS)
        template = cronjob["spec"]["jobTemplate"]
        job = {"metadata": {**template["metadata"], "namespace": NAMESPACE, "name": "a"}, "spec": template["spec"]}
        world.cluster.put(JOBS, job)

        world.settle()

        assert world.status()["activeBackup"]["since"] == "2027-01-03T02:00:00Z"
        assert world.conditions()["LastRunSucceeded"][0] == "True"

    def test_workers_have_the_same(self):
        world = settled(environment=AHEAD)

        (job,) = world.jobs(Work.INVENTORY)
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert container["env"] == [{"name": "BACKUP_CLOCK_OFFSET_SECONDS", "value": "3456000"}]


@pytest.mark.parametrize("spec", [{}, {"storage": TEMPLATE}], ids=["a claim of a person's", "a claim of a template"])
def test_a_policy_at_rest_is_not_written(spec: dict[str, Any]):
    world = settled(**spec)
    before = copy.deepcopy(world.cluster.objects)

    world.start_operator()
    world.settle()

    assert world.cluster.objects == before


class TestDrift:
    @staticmethod
    def added_while_written(world: World, *, each_time: bool) -> None:
        """Somebody adds a node selector between our write and its answer."""
        apply, done = world.cluster.apply, list[Any]()

        async def interrupted(resource: Any, manifest: dict[str, Any]) -> dict[str, Any]:
            written = await apply(resource, manifest)
            if resource is not CRONJOBS or (done and not each_time):
                return written
            done.append(manifest)
            path = ("jobTemplate", "spec", "template", "spec")
            owned: dict[str, Any] = {"f:nodeSelector": {"f:disk": {}}}
            part = written["spec"]
            for step in path:
                part = part[step]
            for step in reversed(path):
                owned = {f"f:{step}": owned}
            part["nodeSelector"] = {"disk": "ssd"}
            entry = {"manager": "kubectl-edit", "fieldsV1": {"f:spec": owned}}
            return world.cluster.put(
                resource, {**written, "metadata": {**written["metadata"], "managedFields": [entry]}}
            )

        world.cluster.apply = interrupted  # type: ignore[method-assign]  # the same, with somebody in between

    @pytest.mark.parametrize(("each_time", "is_left"), [(False, False), (True, True)])
    def test_what_is_added_while_we_write_is_taken_off_but_not_for_ever(self, *, each_time: bool, is_left: bool):
        world = World()
        world.put(policy())
        self.added_while_written(world, each_time=each_time)

        world.settle()

        (cronjob,) = world.cluster.all(CRONJOBS)
        pod = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        assert ("nodeSelector" in pod) is is_left
