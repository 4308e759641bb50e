"""Verdicts on RestoreRequests: what is read, what is refused for good, and whether target and policy go together."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_operator.api.restorerequest import RestoreRequest
from backup_operator.rules.admission import Verdict, judge_restore_request, judge_restore_source
from backup_operator.vocabulary.reasons import Reason
from tests.unit.api.cases import REDIS, edited
from tests.unit.api.restore_cases import RESTORE, VOLUME
from tests.unit.manifests.policies import policy

UNTOUCHED = "Nothing was touched; write another RestoreRequest."


def raw(spec: object, name: str = "bring-back", **more: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "prod", "name": name, "uid": "u", "generation": 2}, "spec": spec, **more}


def read(spec: object, **more: Any) -> RestoreRequest:
    request, verdict = judge_restore_request(raw(spec, **more))
    assert request is not None, verdict.message
    return request


def verdict_on(edits: dict[str, Any]) -> Verdict:
    return judge_restore_request(raw(edited(RESTORE, edits)))[1]


def test_a_request_is_read_whole():
    request = read(RESTORE, status={"jobName": "bring-back-restore-1", "state": "Running"})

    assert (request.metadata.name, request.metadata.uid, request.metadata.generation) == ("bring-back", "u", 2)
    assert request.spec.backup.latest
    assert request.status.job_name == "bring-back-restore-1"


def test_a_status_of_another_version_makes_no_spec_invalid():
    request = read(RESTORE, status={"state": "OfTomorrow", "pin": "abc", "novel": 1})

    assert (request.status.state, request.status.pin) == (None, "abc")


@pytest.mark.parametrize("spec", [None, {}, [], "text", 7, {**RESTORE, "target": 3}, {**RESTORE, "novel": 1}], ids=repr)
def test_a_spec_that_cannot_be_read_is_invalid_and_never_a_crash(spec: object):
    request, verdict = judge_restore_request(raw(spec))

    assert request is None
    assert (verdict.accepted, verdict.reason) == (False, Reason.INVALID_SPEC)
    assert verdict.message.startswith("spec")
    assert verdict.message.endswith(UNTOUCHED)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=2)))
@settings(max_examples=30, deadline=None)
def test_rubbish_in_any_field_is_never_a_crash(rubbish: object):
    for field in (*RESTORE, "confirm", "after", "job", "checks"):
        _, verdict = judge_restore_request(raw({**RESTORE, field: rubbish}))

        assert verdict.reason in (Reason.INVALID_SPEC, Reason.ACCEPTED)


def test_a_fault_is_explained_with_the_words_of_a_restore_request():
    _, verdict = judge_restore_request(raw({**RESTORE, "after": 5}))

    assert (
        verdict.message
        == f"spec.after: found 5; expected a valid tuple; `kubectl explain rr.spec.after` tells more. {UNTOUCHED}"
    )


def test_a_request_that_waits_for_itself_is_invalid():
    verdict = verdict_on({"after": ["first", "bring-back"]})

    assert (verdict.accepted, verdict.reason) == (False, Reason.INVALID_SPEC)
    assert "spec.after: found bring-back, which is this request itself" in verdict.message


def test_a_name_that_postgresql_would_cut_is_invalid():
    fits, cut = ({"target.postgres.database": "é" * count} for count in (31, 32))

    assert verdict_on(fits).accepted
    assert verdict_on(cut).reason is Reason.INVALID_SPEC
    assert verdict_on(cut).message.startswith("spec.target.postgres.database: found 64 bytes; expected 63 or fewer")


@pytest.mark.parametrize(
    ("edits", "field"),
    [
        ({"target": VOLUME, "confirm": "redis-data"}, "spec.target.redisVolume"),
        ({"target": {"redis": {}}, "backup.artifact": "Aof"}, "spec.backup.artifact: Aof"),
        (
            {"target": {"redis": {}}, "backup": {"name": "redis_20231201_020000", "artifact": "Aof"}},
            "spec.backup.artifact: Aof",
        ),
    ],
    ids=["a volume", "the newest append-only file", "the append-only file of a run"],
)
def test_what_is_of_a_later_release_is_named(edits: dict[str, Any], field: str):
    verdict = verdict_on(edits)

    assert (verdict.accepted, verdict.reason) == (False, Reason.NOT_YET_SUPPORTED)
    assert verdict.message.startswith(f"{field}: this asks for a feature of a later release")
    assert verdict.message.endswith(UNTOUCHED)


@pytest.mark.parametrize("name", ["redis_aof_20231201_020000.aof.gz", "redis_aof_20231201_020000.aof"])
def test_an_append_only_file_of_the_old_scripts_is_accepted(name: str):
    assert verdict_on({"target": {"redis": {}}, "backup": {"name": name, "artifact": "Aof"}}).accepted


def test_a_target_of_the_policys_kind_is_accepted():
    assert judge_restore_source(read(RESTORE), policy()).reason is Reason.ACCEPTED


def test_a_target_of_another_kind_than_the_policys_source_is_invalid():
    verdict = judge_restore_source(read(RESTORE), policy(source=REDIS["source"]))

    assert (verdict.accepted, verdict.reason) == (False, Reason.INVALID_SPEC)
    assert verdict.message == (
        "spec.target: found postgres; BackupPolicy app-db makes backups of Redis; write target: {redis: {}}. "
        f"{UNTOUCHED}"
    )


def test_backups_on_a_claim_of_the_operators_making_can_be_restored():
    assert judge_restore_source(read(RESTORE), policy(storage={"claimTemplate": {"size": "20Gi"}})).accepted


def test_more_checks_than_an_order_can_hold_are_invalid():
    long = [{"name": "long", "sql": "é" * 4000, "minimum": 1}] * 20
    whole = read({**RESTORE, "checks": long})

    alone = judge_restore_request(raw({**RESTORE, "checks": long * 2}))[1]
    together = judge_restore_source(whole, policy(checks=long))

    assert judge_restore_source(whole, policy()).accepted
    assert alone.message == (
        "spec.checks: found 316.2 KiB, the policy's included; expected 200.0 KiB or less; shorten the queries, "
        f"for example by views in the database. {UNTOUCHED}"
    )
    assert (together.reason, together.message) == (Reason.INVALID_SPEC, alone.message)
