"""Which notices are due: once per transition, kept until each target has them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backup_operator.api.backuppolicy import ActiveBackup, BackupPolicyStatus, FailedBackup
from backup_operator.api.meta import Condition
from backup_operator.api.notified import OWED_NOTICES, NotifiedStatus
from backup_operator.api.restorestatus import RestoreRequestStatus
from backup_operator.rules.notice_words import letter_of
from backup_operator.rules.notices import (
    Post,
    Receipt,
    Route,
    never_succeeded_told_at,
    notice_id,
    policy_notified,
    restore_notified,
    still_trying_told_at,
)
from backup_operator.vocabulary.conditions import ConditionStatus
from backup_operator.vocabulary.notifications import MEANING, NotificationKind
from backup_operator.vocabulary.reasons import Reason

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
RPO = timedelta(hours=25)
MAIL = Route("mail")
EVERYBODY = (MAIL,)
WORDS = {True: ConditionStatus.TRUE, False: ConditionStatus.FALSE, None: ConditionStatus.UNKNOWN}


def condition(kind: str, reason: str, *, holds: bool | None, since: datetime = NOW) -> Condition:
    status = WORDS[holds]
    return Condition(type=kind, status=status, last_transition_time=since, reason=reason, message=f"{reason} it is.")


def failed(reason: str = "AuthenticationFailed") -> Condition:
    return condition("LastRunSucceeded", reason, holds=False)


GOOD = condition("LastRunSucceeded", "Succeeded", holds=True)


class Policy:
    """A policy whose status goes on, as the operator would write it."""

    def __init__(self, *routes: Route) -> None:
        self.routes = routes or EVERYBODY
        self.status = BackupPolicyStatus()
        self.now = NOW
        self.receipts: set[Receipt] = set()

    def turns(self, *conditions: Condition, **fields: Any) -> list[str]:
        """The next status is written; the notices that were not owed before."""
        before = self.owed()
        after = self.status.model_copy(update={"conditions": conditions, **fields})
        post = Post(self.routes, self.now, frozenset(self.receipts))
        notified = policy_notified(self.status, after, RPO, post)
        self.status = after.model_copy(update={"notified": notified})
        self.now += timedelta(minutes=1)
        return [one for one in self.owed() if one not in before]

    def owed(self) -> list[str]:
        found = self.status.notified.owed if self.status.notified else ()
        return [f"{one.kind.value}({one.reason}) to {'+'.join(one.targets)}" for one in found]

    def accepted(self, *targets: str) -> None:
        """These targets take everything."""
        assert self.status.notified is not None
        for one in self.status.notified.owed:
            self.receipts |= {Receipt(notice_id(one), target) for target in targets}


def test_the_first_sight_of_a_healthy_policy_tells_nothing_and_keeps_nothing():
    policy = Policy()

    assert policy.turns(GOOD, condition("Fresh", "WithinObjective", holds=True)) == []
    assert policy.status.notified is None


def test_a_trouble_is_told_once_and_its_end_once():
    policy = Policy()

    told = [policy.turns(one) for one in (GOOD, failed(), failed(), failed(), GOOD, GOOD, failed())]

    assert told == [
        [],
        ["Failed(AuthenticationFailed) to mail"],
        [],
        [],
        ["Recovered(Succeeded) to mail"],
        [],
        # the first one is still owed
        [],
    ]
    assert policy.owed().count("Failed(AuthenticationFailed) to mail") == 2


def test_a_trouble_that_is_seen_for_the_first_time_is_told():
    assert Policy().turns(failed()) == ["Failed(AuthenticationFailed) to mail"]


def test_another_reason_is_another_notice():
    policy = Policy()
    policy.turns(failed())

    assert policy.turns(failed("StorageFull")) == ["Failed(StorageFull) to mail"]


def test_a_trouble_that_goes_to_and_fro_between_two_reasons_is_told_once_of_each():
    policy = Policy()

    told = [policy.turns(failed(reason)) for reason in ("PodPending", "KeyInvalid", "PodPending", "KeyInvalid")]

    assert told == [["Stuck(PodPending) to mail"], ["Failed(KeyInvalid) to mail"], [], []]
    assert policy.turns(GOOD) == ["Recovered(Succeeded) to mail"]
    policy.accepted("mail")
    policy.turns(GOOD)
    assert policy.status.notified is None


def test_what_is_unknown_ends_no_trouble():
    policy = Policy()
    policy.turns(condition("Fresh", "ObjectiveExceeded", holds=False))

    policy.turns(condition("Fresh", "InvalidSpec", holds=None))

    assert policy.turns(condition("Fresh", "ObjectiveExceeded", holds=False)) == []
    assert policy.turns(condition("Fresh", "WithinObjective", holds=True)) == ["Fresh(WithinObjective) to mail"]


def test_what_is_not_said_for_a_while_ends_no_trouble():
    policy = Policy()
    full = condition("StorageAvailable", "StorageFull", holds=False)
    policy.turns(full)

    assert policy.turns(GOOD) == []
    assert policy.turns(full) == []
    assert policy.turns(condition("StorageAvailable", "BelowLimit", holds=True)) == ["StorageOk(BelowLimit) to mail"]
    policy.turns(full)
    policy.turns(GOOD)
    policy.routes = (Route("pager", frozenset({NotificationKind.STALE})),)
    policy.turns(GOOD)
    assert policy.status.notified is None


def test_a_notice_is_owed_until_each_target_has_it():
    policy = Policy(Route("mail"), Route("chat"))
    policy.turns(failed())

    policy.accepted("chat")
    policy.turns(failed())
    assert policy.owed() == ["Failed(AuthenticationFailed) to mail"]

    policy.accepted("mail")
    policy.turns(failed())
    assert policy.owed() == []
    assert policy.status.notified is not None
    assert [one.condition for one in policy.status.notified.told] == ["LastRunSucceeded"]

    policy.turns(GOOD)
    policy.accepted("mail", "chat")
    policy.turns(GOOD)
    assert policy.status.notified is None


def test_two_routes_of_one_target_tell_it_once():
    policy = Policy(Route("mail"), Route("mail", frozenset({NotificationKind.FAILED})))

    assert policy.turns(failed()) == ["Failed(AuthenticationFailed) to mail"]


def test_a_route_takes_the_kinds_that_it_names():
    policy = Policy(
        Route("pager", frozenset({NotificationKind.STALE})), Route("chat", frozenset({NotificationKind.RECOVERED}))
    )

    assert policy.turns(failed()) == []
    assert policy.turns(GOOD) == ["Recovered(Succeeded) to chat"]
    assert policy.turns(condition("Fresh", "ObjectiveExceeded", holds=False)) == ["Stale(ObjectiveExceeded) to pager"]


def test_a_trouble_that_nobody_wants_leaves_no_trace():
    policy = Policy(Route("pager", frozenset({NotificationKind.STALE})))

    policy.turns(failed())

    assert policy.status.notified is None


def test_without_routes_what_was_kept_goes():
    policy = Policy()
    policy.turns(failed())
    policy.routes = ()

    policy.turns(failed())

    assert policy.status.notified is None


def test_a_target_that_is_no_longer_configured_is_owed_nothing():
    policy = Policy(Route("mail"), Route("chat"))
    policy.turns(failed())
    policy.routes = (Route("chat"),)

    policy.turns(failed())

    assert policy.owed() == ["Failed(AuthenticationFailed) to chat"]


def test_of_many_notices_the_newest_are_kept():
    policy = Policy()
    for _ in range(OWED_NOTICES):
        policy.turns(failed())
        policy.turns(GOOD)

    owed = policy.owed()
    assert len(owed) == OWED_NOTICES
    assert owed[-1].startswith("Recovered")


KINDS = {
    "a spec that is refused": ("Accepted", "InvalidSpec", "Rejected"),
    "a schedule that is suspended": ("Scheduled", "Suspended", "NotScheduled"),
    "a run that failed": ("LastRunSucceeded", "OutOfMemory", "Failed"),
    "a pod that does not start": ("LastRunSucceeded", "Unschedulable", "Stuck"),
    "a backup that is too old": ("Fresh", "ObjectiveExceeded", "Stale"),
    "a run that does not end": ("Fresh", "RunStuck", "Stuck"),
    "retention that is held": ("Retained", "RetentionBlocked", "RetentionBlocked"),
    "a volume that is nearly full": ("StorageAvailable", "UsageAboveLimit", "StorageLow"),
    "a backup without rows": ("Plausible", "RowsCollapsed", "Implausible"),
}


@pytest.mark.parametrize(("kind", "reason", "notice"), KINDS.values(), ids=KINDS)
def test_each_condition_has_its_kind_and_an_end(kind: str, reason: str, notice: str):
    policy = Policy()

    assert policy.turns(condition(kind, reason, holds=False)) == [f"{notice}({reason}) to mail"]
    (end,) = policy.turns(condition(kind, "Well", holds=True))
    assert "(Well) to mail" in end


def test_ready_repeats_nothing():
    assert Policy().turns(condition("Ready", "AuthenticationFailed", holds=False)) == []


def test_a_refused_spec_is_one_notice_not_two():
    refused = [condition(kind, "InvalidSpec", holds=False) for kind in ("Accepted", "Scheduled")]

    assert Policy().turns(*refused) == ["Rejected(InvalidSpec) to mail"]


def trying(reason: str, **failed_at: Any) -> dict[str, Any]:
    """A run whose Job is there and whose pod does not start, or whose attempt has failed."""
    failed_run = FailedBackup(reason=Reason(reason), message="no", job_name="app-1", started_at=NOW, **failed_at)
    return {"last_failed_backup": failed_run, "active_backup": ActiveBackup(job_name="app-1", since=NOW)}


@pytest.mark.parametrize(("reason", "notice"), [("Unschedulable", "Stuck"), ("ClaimPending", "Failed")])
def test_a_run_that_waits_for_a_node_or_a_volume_is_told_after_five_minutes(reason: str, notice: str):
    policy = Policy()
    troubles = [failed(reason), condition("StorageAvailable", "ClaimPending", holds=False)]
    low = ["StorageLow(ClaimPending) to mail"]
    told_early = [] if reason == "ClaimPending" else low

    assert policy.turns(*troubles, **trying(reason)) == told_early
    assert still_trying_told_at(policy.status) == NOW + timedelta(minutes=5)
    policy.now = NOW + timedelta(minutes=5, seconds=-1)
    assert policy.turns(*troubles) == []
    policy.now = NOW + timedelta(minutes=5)
    assert policy.turns(*troubles) == [f"{notice}({reason}) to mail", *([] if told_early else low)]


def test_a_run_that_starts_or_succeeds_in_time_is_told_to_nobody():
    policy = Policy()

    assert policy.turns(failed("Unschedulable"), **trying("Unschedulable")) == []
    assert policy.turns(GOOD, active_backup=None) == []
    assert policy.status.notified is None


def test_a_run_that_has_given_up_is_told_at_once():
    policy = Policy()
    policy.turns(failed(), **trying("AuthenticationFailed", completed_at=NOW))

    assert policy.owed() == []
    assert policy.turns(failed(), active_backup=None) == ["Failed(AuthenticationFailed) to mail"]


def test_a_trouble_that_was_told_stays_so_while_the_next_run_tries():
    policy = Policy()
    policy.turns(failed())

    assert policy.turns(failed("Unschedulable"), **trying("Unschedulable")) == []
    assert policy.turns(GOOD, active_backup=None) == ["Recovered(Succeeded) to mail"]


NEVER = condition("Fresh", "NeverSucceeded", holds=False)


def test_a_new_policy_without_a_backup_is_told_when_its_first_run_has_had_its_time():
    policy = Policy()

    assert policy.turns(NEVER) == []
    assert never_succeeded_told_at(BackupPolicyStatus(), policy.status, RPO) == NOW + RPO
    policy.now = NOW + RPO - timedelta(seconds=1)
    assert policy.turns(NEVER) == []
    policy.now = NOW + RPO
    assert policy.turns(NEVER) == ["Stale(NeverSucceeded) to mail"]
    assert policy.turns(NEVER) == []


def test_backups_that_vanish_are_told_at_once():
    policy = Policy()
    policy.turns(condition("Fresh", "WithinObjective", holds=True), backup_count=3, store="backups:a")

    assert policy.turns(NEVER, backup_count=0) == ["Stale(NeverSucceeded) to mail"]
    assert policy.turns(NEVER) == []


def test_backups_that_do_not_open_are_told_at_once():
    assert Policy().turns(NEVER, backup_count=0, locked_backups=7) == ["Stale(NeverSucceeded) to mail"]


def test_a_store_that_is_about_to_be_read_is_not_called_empty():
    policy = Policy()
    policy.turns(condition("Fresh", "WithinObjective", holds=True), backup_count=3, store="backups:a")

    assert policy.turns(NEVER, backup_count=None, store="backups:b") == []


# --- RestoreRequests


def restoring(before: RestoreRequestStatus, *conditions: Condition, **fields: Any) -> RestoreRequestStatus:
    after = before.model_copy(update={"conditions": conditions, **fields})
    return after.model_copy(update={"notified": restore_notified(before, after, Post(EVERYBODY, NOW))})


def kinds(notified: NotifiedStatus | None) -> list[str]:
    return [one.kind.value for one in notified.owed] if notified else []


def test_a_restore_tells_its_start_and_its_end():
    waiting = restoring(RestoreRequestStatus())
    started = restoring(waiting, started_at=NOW, job_name="back-restore-x", source="app-db", target="app", hint="…")
    ended = restoring(started, condition("Failed", "CheckFailed", holds=True), hint="look at the log")

    assert (kinds(waiting.notified), kinds(started.notified)) == ([], ["RestoreStarted"])
    assert kinds(ended.notified) == ["RestoreStarted", "RestoreFailed"]
    assert ended.notified is not None
    assert ended.notified.owed[-1].message == "CheckFailed it is. Hint: look at the log."


def test_a_restore_that_ended_before_anybody_was_to_be_told_is_old_news():
    ended = RestoreRequestStatus(conditions=(condition("Complete", "Restored", holds=True),), started_at=NOW)

    assert restore_notified(ended, ended, Post(EVERYBODY, NOW)) is None


def test_a_restore_whose_pod_does_not_start_is_told_once():
    held_up = condition("Complete", "ImageUnavailable", holds=False)
    first = restoring(RestoreRequestStatus(started_at=NOW), held_up)
    second = restoring(first, held_up)

    assert kinds(first.notified) == kinds(second.notified) == ["Stuck"]


# --- words


def test_a_letter_says_where_what_and_why():
    policy = Policy()
    policy.turns(failed())
    assert policy.status.notified is not None

    letter = letter_of(policy.status.notified.owed[0], "BackupPolicy", "prod", "app-db")

    assert letter.title == "prod/app-db: the backup failed (AuthenticationFailed)"
    assert letter.body == (
        "AuthenticationFailed it is.\n\nBackupPolicy prod/app-db, 2026-11-24T02:00:00Z.\n"
        "To see all of it: kubectl -n prod describe backuppolicy app-db"
    )
    assert letter.mood == "failure"


@pytest.mark.parametrize("kind", NotificationKind)
def test_every_kind_has_a_meaning_and_words(kind: NotificationKind):
    owed = {"kind": kind, "reason": "Why", "at": NOW, "message": "So.", "targets": ["mail"]}
    (one,) = NotifiedStatus.model_validate({"owed": [owed]}).owed

    assert MEANING[kind].endswith(".")
    assert letter_of(one, "BackupPolicy", "prod", "app-db").title.startswith("prod/app-db: ")
