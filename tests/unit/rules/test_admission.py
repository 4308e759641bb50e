"""Verdicts: who has a path, what is invalid, what is of a later release, and what is a warning only."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_operator.rules.admission import (
    StoreClaim,
    Verdict,
    judge,
    judge_policy,
    read_policy_spec,
    store_claim,
)
from backup_operator.vocabulary.reasons import Reason
from tests.unit.api.cases import POSTGRES, WHOLE, edited

BIRTH = datetime(2026, 1, 1, tzinfo=UTC)


def claim(policy: str = "app-db", path: str = "prod/app-db", **changes: Any) -> StoreClaim:
    return StoreClaim(
        **{
            "namespace": "prod",
            "policy": policy,
            "claim_name": "backups",
            "path": path,
            "created_at": BIRTH,
            **changes,
        }
    )


def policy(spec: object, name: str = "app-db", created: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return {"metadata": {"namespace": "prod", "name": name, "creationTimestamp": created}, "spec": spec}


def verdict_on(*neighbours: StoreClaim, mine: StoreClaim) -> Verdict:
    return judge(read_policy_spec(POSTGRES), mine=mine, neighbours=neighbours)


YOUNGER: dict[str, Any] = {"created_at": BIRTH + timedelta(seconds=1)}
OLDER: dict[str, Any] = {"created_at": BIRTH - timedelta(seconds=1)}


@pytest.mark.parametrize(
    "neighbour",
    [
        claim("other", **OLDER),
        claim("other", path="prod", **OLDER),
        claim("other", path="prod/app-db/inner", **OLDER),
        claim("aaa"),
        claim("other", holds=True, **YOUNGER),
    ],
    ids=["an older one", "around it", "inside of it", "as old, by name", "one that writes there already"],
)
def test_a_path_of_another_policy_is_taken(neighbour: StoreClaim):
    verdict = verdict_on(neighbour, mine=claim())

    assert (verdict.accepted, verdict.reason) == (False, Reason.PATH_TAKEN)
    assert f"by BackupPolicy {neighbour.policy}" in verdict.message


@pytest.mark.parametrize(
    "neighbour",
    [
        claim("other", **YOUNGER),
        claim("zzz"),
        claim("other", path="prod/app-db-2", **OLDER),
        claim("other", path="prod/app", **OLDER),
        claim("other", claim_name="others", **OLDER),
        claim("other", namespace="test", **OLDER),
        claim("app-db", path="prod/app-db", holds=True, **OLDER),
    ],
    ids=["a younger one", "as old, by name", "a longer name", "a shorter name", "claim", "namespace", "itself"],
)
def test_a_path_that_nobody_else_has_is_free(neighbour: StoreClaim):
    assert verdict_on(neighbour, mine=claim()).reason is Reason.ACCEPTED


def test_a_policy_that_writes_there_already_keeps_its_path_from_an_older_one():
    assert verdict_on(claim("other", **OLDER), mine=claim(holds=True)).reason is Reason.ACCEPTED


def test_the_words_of_a_taken_path_say_what_to_write():
    verdict = verdict_on(claim("old", path="prod", **OLDER), mine=claim())

    assert verdict.message == (
        "spec.storage.path: prod/app-db on claim backups overlaps with prod, which is used by BackupPolicy old; each "
        "policy needs a directory of its own; write for example path: prod-app-db"
    )


_CLAIMS = st.lists(
    st.builds(
        lambda name, path, seconds, holds: claim(
            name, path, created_at=BIRTH + timedelta(seconds=seconds), holds=holds
        ),
        st.sampled_from(["a", "b", "c", "d"]),
        st.sampled_from(["x", "x/y", "x/y/z", "w"]),
        st.integers(0, 2),
        st.booleans(),
    ),
    unique_by=lambda one: one.policy,
    min_size=1,
)


@given(_CLAIMS)
@settings(max_examples=200, deadline=None)
def test_no_two_accepted_policies_share_a_directory_and_one_is_accepted(claims: list[StoreClaim]):
    accepted = [one for one in claims if verdict_on(*claims, mine=one).accepted]

    assert accepted
    for one in accepted:
        inside = [other for other in accepted if other != one and f"{other.path}/".startswith(f"{one.path}/")]
        assert inside == []


def test_a_store_claim_has_the_default_path():
    assert store_claim(policy(POSTGRES)) == claim(path="prod/app-db")


def test_a_store_claim_has_the_path_of_the_spec():
    assert store_claim(policy(edited(POSTGRES, {"storage.path": "a/b"})), holds=True) == claim(path="a/b", holds=True)


def test_a_store_claim_of_a_template_has_the_claim_that_is_made_of_it():
    spec = edited(POSTGRES, {"storage": {"claimTemplate": {"size": "1Gi"}}})

    assert store_claim(policy(spec)) == claim(claim_name="app-db-backups", path="prod/app-db")


def test_a_path_on_the_claim_of_another_policy_s_template_is_taken():
    template = store_claim(policy(edited(POSTGRES, {"storage": {"claimTemplate": {"size": "1Gi"}, "path": "a"}})))
    spec = edited(POSTGRES, {"storage": {"claimName": "app-db-backups", "path": "a/b"}})
    assert template is not None

    _, verdict = judge_policy(policy(spec, "later", "2026-01-02T00:00:00Z"), neighbours=(template,))

    assert verdict.reason is Reason.PATH_TAKEN
    assert "on claim app-db-backups overlaps with a, which is used by BackupPolicy app-db" in verdict.message


def test_an_acceptance_that_names_no_run_is_warned_of():
    one = policy(POSTGRES)
    one["metadata"]["annotations"] = {"backup.agentsflow.ai/accepted-backup": "the newest"}

    _, verdict = judge_policy(one, neighbours=())

    assert verdict.accepted
    assert 'Warning: annotation backup.agentsflow.ai/accepted-backup is "the newest"' in verdict.message


def test_an_acceptance_that_names_a_run_is_none_to_warn_of():
    one = policy(POSTGRES)
    one["metadata"]["annotations"] = {"backup.agentsflow.ai/accepted-backup": "backup_20261124_020000"}

    assert judge_policy(one, neighbours=()) == judge_policy(policy(POSTGRES), neighbours=())


@pytest.mark.parametrize("spec", [None, {}])
def test_a_spec_that_cannot_be_read_claims_nothing(spec: object):
    assert store_claim(policy(spec)) is None


@pytest.mark.parametrize(
    "spec",
    [None, {}, [], "text", 7, {"source": 3}, {"source": {"postgres": []}}, edited(POSTGRES, {"schedule": None})],
    ids=repr,
)
def test_a_spec_that_cannot_be_read_is_invalid_and_never_a_crash(spec: object):
    read, verdict = judge_policy(policy(spec), neighbours=())

    assert read is None
    assert (verdict.accepted, verdict.reason) == (False, Reason.INVALID_SPEC)
    assert "spec" in verdict.message


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=2)))
@settings(max_examples=100, deadline=None)
def test_rubbish_in_any_field_is_invalid_and_never_a_crash(rubbish: object):
    for field in POSTGRES:
        _, verdict = judge_policy(policy({**POSTGRES, field: rubbish}), neighbours=())

        assert verdict.reason in (Reason.INVALID_SPEC, Reason.ACCEPTED)


def test_every_fault_is_named_at_once():
    spec = {**POSTGRES, "schedule": "7", "timeZone": "Local", "storage": {}, "novel": 1, "objectives": {"rpo": 5}}

    _, verdict = judge_policy(policy(spec), neighbours=())

    assert verdict.message == (
        'spec.schedule: found "7"; expected five cron fields (minute hour day month weekday, weekday 0 to 6), @hourly, '
        "@daily, @weekly, @monthly, @yearly, or @every with hours, minutes and seconds; the zone goes into timeZone; "
        'write for example "0 2 * * *" or "@every 1h". '
        'spec.timeZone: found "Local"; expected a name of the IANA time zone database; write for example Etc/UTC or '
        "Europe/Berlin. "
        "spec.storage: exactly one of claimName and claimTemplate is expected; write one of them and leave the others "
        "out. "
        "spec.objectives.rpo: found 5; expected a text like 30d or 25h; `kubectl explain bp.spec.objectives.rpo` tells "
        "more. "
        "spec.novel: unknown to this version of the operator; take it out, or upgrade the operator; "
        "`kubectl explain bp.spec` tells more"
    )


def test_more_faults_than_a_person_reads_are_counted():
    spec = {**POSTGRES, **{f"novel{number}": 1 for number in range(12)}}

    _, verdict = judge_policy(policy(spec), neighbours=())

    assert verdict.message.count("unknown to this version") == 8
    assert verdict.message.endswith("and 4 more")


def test_the_spec_comes_with_the_verdict_also_when_it_is_not_accepted():
    spec, verdict = judge_policy(policy(edited(POSTGRES, {"drill": {"schedule": "@daily"}})), neighbours=())

    assert spec is not None
    assert verdict.reason is Reason.NOT_YET_SUPPORTED


def test_retention_usage_limit_and_checks_are_accepted():
    assert judge_policy(policy(WHOLE), neighbours=())[1].reason is Reason.ACCEPTED


@pytest.mark.parametrize(
    ("schedule", "rpo", "warned"),
    [
        ("0 2 * * *", "25h", False),
        ("0 2 * * *", "24h", True),
        ("0 2 * * *", "15m", True),
        ("*/10 * * * *", "15m", False),
        ("@every 1h", "1h", True),
    ],
)
def test_a_schedule_that_cannot_meet_the_objective_is_a_warning(schedule: str, rpo: str, *, warned: bool):
    spec = read_policy_spec(edited(POSTGRES, {"schedule": schedule, "objectives.rpo": rpo}))

    verdict = judge(spec, mine=None, neighbours=())

    assert verdict.accepted
    assert ("Warning: runs are up to" in verdict.message) is warned


def test_the_night_in_which_clocks_change_is_told_beforehand():
    changes = {"schedule": "0 3 * * *", "timeZone": "Europe/Berlin", "objectives.rpo": "25h"}

    verdict = judge(read_policy_spec(edited(POSTGRES, changes)), mine=None, neighbours=())

    assert "Warning: runs are up to 25h apart where the clocks change, and objectives.rpo is 25h" in verdict.message
