"""The notices that wait in memory: what is offered, in which order, and when a target is left alone."""

from datetime import UTC, datetime, timedelta

from backup_operator.api.notified import NotifiedStatus, OwedNotice
from backup_operator.controller.outbox import NEWS_AFTER, Doorbell, Outbox
from backup_operator.manifests.event import Subject
from backup_operator.vocabulary.notifications import NotificationKind

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
APP, CACHE = (Subject("BackupPolicy", "prod", name, f"uid-of-{name}") for name in ("app", "cache"))
SECOND = timedelta(seconds=1)


def owes(*minutes: int, targets: tuple[str, ...] = ("mail",)) -> NotifiedStatus:
    """A notice of each of these minutes."""
    kind = NotificationKind.FAILED
    return NotifiedStatus(
        owed=tuple(
            OwedNotice(kind=kind, reason="Why", at=NOW + timedelta(minutes=one), message="So.", targets=targets)
            for one in minutes
        )
    )


def waiting(outbox: Outbox, target: str = "mail") -> list[str]:
    return [f"{one.subject.name} {one.owed.at:%M}" for one in outbox.waiting(target)]


def test_the_oldest_notice_goes_first_whatever_it_is_about():
    outbox = Outbox()
    outbox.settle(APP, owes(2, 5))
    outbox.settle(CACHE, owes(3))

    assert waiting(outbox) == ["app 02", "cache 03", "app 05"]
    assert waiting(outbox, "chat") == []


def test_what_is_settled_twice_is_sent_once():
    outbox = Outbox()

    assert outbox.settle(APP, owes(2)).news_for == {"mail"}
    assert outbox.settle(APP, owes(2)).news_for == frozenset()
    assert waiting(outbox) == ["app 02"]


def test_what_has_arrived_is_not_sent_again_though_the_status_still_owes_it():
    outbox = Outbox()
    outbox.settle(APP, owes(2))
    (parcel,) = outbox.waiting("mail")

    outbox.close(parcel)

    assert outbox.settle(APP, owes(2)).news_for == frozenset()
    assert waiting(outbox) == []
    assert outbox.receipts(APP.uid) == {parcel.receipt}
    assert not outbox.is_settled
    outbox.settle(APP, None)
    assert (outbox.receipts(APP.uid), outbox.is_settled) == (frozenset(), True)


def test_what_the_status_no_longer_owes_is_dropped_and_named():
    outbox = Outbox()
    outbox.settle(APP, owes(2, 3))

    settled = outbox.settle(APP, owes(3, 4))

    assert [one.owed.at.minute for one in settled.dropped] == [2]
    assert waiting(outbox) == ["app 03", "app 04"]


def test_a_notice_that_was_rejected_waits_behind_the_others():
    outbox = Outbox()
    outbox.settle(APP, owes(2, 3))
    outbox.reject(outbox.waiting("mail")[0])

    assert waiting(outbox) == ["app 03", "app 02"]


def test_what_is_owed_about_an_object_that_is_gone_is_sent_and_then_forgotten():
    outbox = Outbox()
    outbox.settle(APP, owes(2))
    outbox.settle(CACHE, owes(3))

    outbox.forget("BackupPolicy", "prod", "app")

    (parcel, _) = outbox.waiting("mail")
    outbox.close(parcel)
    assert (outbox.receipts(APP.uid), outbox.is_settled) == (frozenset(), True)
    assert waiting(outbox) == ["cache 03"]


def test_an_object_that_took_the_place_of_another_ends_its_account():
    outbox = Outbox()
    outbox.settle(APP, owes(2, 3))
    outbox.close(outbox.waiting("mail")[0])

    outbox.settle(Subject("BackupPolicy", "prod", "app", "another-uid"), None)

    assert outbox.is_settled
    assert waiting(outbox) == ["app 03"]


def rings(doorbell: Doorbell, after: timedelta, url: str = "a") -> bool:
    return doorbell.may_ring(NOW + after, url)


def test_a_target_that_does_not_answer_is_left_alone_for_twice_as_long_each_time():
    doorbell = Doorbell()
    pauses = []
    for _ in range(9):
        doorbell.unanswered(NOW, "a")
        pauses.append(doorbell.pause(NOW).total_seconds())

    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert not rings(doorbell, timedelta(seconds=299))
    assert rings(doorbell, timedelta(seconds=300))


def test_another_url_and_a_clock_set_back_end_the_pause():
    doorbell = Doorbell()
    doorbell.unanswered(NOW, "a")

    assert [rings(doorbell, SECOND), rings(doorbell, SECOND, "b"), rings(doorbell, -SECOND)] == [False, True, True]


def test_news_shorten_a_long_pause_and_no_short_one():
    doorbell = Doorbell()
    for _ in range(9):
        doorbell.unanswered(NOW, "a")
    doorbell.hurry()
    assert (rings(doorbell, NEWS_AFTER - SECOND), rings(doorbell, NEWS_AFTER)) == (False, True)

    doorbell.answered()
    assert rings(doorbell, SECOND)
    doorbell.unanswered(NOW, "a")
    doorbell.hurry()
    assert rings(doorbell, 5 * SECOND)
