"""Retention that says what it would do, and retention while the newest backup is in doubt: nothing goes then."""

import pytest

from backup_operator.contract.order import RetentionOrder
from backup_operator.contract.report import Comparison
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import OrderInvalid
from backup_operator.worker.prune import Pruning, plan_pruning, preview, prune, rules_of
from backup_operator.worker.store.audit import verify_audit
from backup_operator.worker.store.catalog import read_catalog
from backup_operator.worker.store.directory import Store
from tests.integration.worker.pruning import DAY, LAST_TWO, NIGHT, at, files_of, of_runs, opened, pruning, written
from tests.support.store_content import CONTENT, KEYS

DRY = LAST_TWO.model_copy(update={"dry_run": True, "digest": "4f2a"})


def looked_at(store: Store) -> dict[str, tuple[bytes, int]]:
    files = [path for path in store.directory.iterdir() if path.name != ".lock"]
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def in_doubt(since: str, newest: str, **changes) -> Comparison:
    found = Comparison(run=newest, compared_with=2, reason=Reason.ROWS_COLLAPSED, since_run=since, message="0 rows")
    return found.model_copy(update=changes)


def test_a_dry_run_says_what_would_go_and_changes_nothing(tmp_path):
    with opened(tmp_path) as store:
        runs = written(store, 5)
        before = looked_at(store)

        result = prune(store, KEYS, pruning(DRY), at(NIGHT))

        assert looked_at(store) == before
    assert result.model_dump(exclude={"rules", "next_to_go"}) == {
        "applied_at": NIGHT,
        "kept": 2,
        "held_back": 0,
        "deleted": (),
        "deleted_count": 0,
        "freed_bytes": 0,
        "left": (),
        "stopped": "",
        "dry_run": True,
        "going": tuple(runs[:3]),
        "going_count": 3,
        "going_bytes": 3 * len(CONTENT),
        "blocked": 0,
        "rules_digest": "4f2a",
    }


def test_a_dry_run_leaves_even_a_deletion_that_was_cut_and_says_nothing_of_it(tmp_path):
    with opened(tmp_path) as store:
        runs = written(store, 3)
        (store.directory / f"{runs[0]}.json").rename(store.directory / f"{runs[0]}.json.deleting")
        before = looked_at(store)

        result = prune(store, KEYS, pruning(DRY), at(NIGHT))

        assert looked_at(store) == before
        assert (result.kept, result.going, result.deleted) == (2, (), ())


@pytest.mark.parametrize(
    "retention",
    [LAST_TWO, RetentionOrder(max_age=3 * DAY, keep_monthly=2, minimum=1), RetentionOrder(keep_daily=1, minimum=4)],
    ids=["last", "age and months", "floor"],
)
def test_what_a_dry_run_foretells_is_what_goes(tmp_path, retention):
    with opened(tmp_path) as store:
        written(store, 40)
        dry = prune(store, KEYS, pruning(retention.model_copy(update={"dry_run": True})), at(NIGHT))
        real = prune(store, KEYS, pruning(retention), at(NIGHT))

    assert real.deleted
    assert (dry.going, dry.going_count, dry.going_bytes) == (real.deleted, real.deleted_count, real.freed_bytes)
    assert (dry.kept, dry.held_back, dry.rules, dry.next_to_go) == (
        real.kept,
        real.held_back,
        real.rules,
        real.next_to_go,
    )


def test_a_preview_is_a_dry_run_whatever_the_order_says(tmp_path):
    with opened(tmp_path) as store:
        written(store, 5)
        listed = read_catalog(store, KEYS).entries

        told = preview(listed, pruning(DRY.model_copy(update={"dry_run": False})), NIGHT)

        assert told == prune(store, KEYS, pruning(DRY), at(NIGHT))


def test_a_preview_with_an_unknown_time_zone_says_so(tmp_path):
    with opened(tmp_path) as store:
        written(store, 2)
        wrong = LAST_TWO.model_copy(update={"time_zone": "Europe/Nowhere"})

        told = preview(read_catalog(store, KEYS).entries, pruning(wrong), NIGHT)

    assert told.stopped == "retention's time zone 'Europe/Nowhere' is unknown"
    assert told.dry_run


def test_an_unknown_time_zone_names_the_policy_to_edit():
    with pytest.raises(OrderInvalid) as refused:
        rules_of(pruning(LAST_TWO.model_copy(update={"time_zone": "Europe/Nowhere"})))

    assert "`kubectl -n prod edit bp app-db`" in refused.value.hint


# while the newest backup is in doubt


def doubting(runs: list[str], since: str, **changes) -> Pruning:
    return pruning(RetentionOrder(keep_last=1, minimum=1), comparison=in_doubt(since, runs[-1], **changes))


def test_no_run_of_before_the_collapse_goes_and_those_are_counted(tmp_path):
    with opened(tmp_path) as store:
        runs = written(store, 6)

        result = prune(store, KEYS, doubting(runs, since=runs[3]), at(NIGHT))

        assert result.deleted == (runs[3], runs[4])
        assert (result.blocked, result.kept) == (3, 4)
        assert of_runs(store) == files_of(*runs[:3], runs[5], globals_too=False)
        assert {line["run"] for line in verify_audit(store).events} == {runs[3], runs[4]}


def test_every_run_that_is_held_says_why(tmp_path):
    with opened(tmp_path) as store:
        runs = written(store, 3)
        planned = plan_pruning(store, KEYS, doubting(runs, since=runs[2]), NIGHT)

    assert planned.blocked == {runs[0], runs[1]}
    assert [verdict.why for verdict in planned.plan.verdicts] == [
        "last 1",
        *["RowsCollapsed since backup_20261123_020000 is not accepted"] * 2,
    ]


def test_what_the_rules_keep_anyway_is_not_counted_as_blocked(tmp_path):
    with opened(tmp_path) as store:
        runs = written(store, 4)
        doubt = doubting(runs, since=runs[3])

        result = prune(store, KEYS, pruning(LAST_TWO, comparison=doubt.comparison), at(NIGHT))

    assert (result.blocked, result.kept, result.deleted) == (2, 4, ())


@pytest.mark.parametrize(
    "changes",
    [{"reason": None, "since_run": ""}, {"accepted": True}],
    ids=["in line", "accepted"],
)
def test_when_the_doubt_is_over_the_same_runs_go(tmp_path, changes):
    with opened(tmp_path) as store:
        runs = written(store, 4)
        assert prune(store, KEYS, doubting(runs, since=runs[3]), at(NIGHT)).blocked == 3

        result = prune(store, KEYS, doubting(runs, since=runs[3], **changes), at(NIGHT))

        assert (result.blocked, result.deleted) == (0, tuple(runs[:3]))


def test_a_preview_counts_what_is_blocked_too(tmp_path):
    with opened(tmp_path) as store:
        runs = written(store, 4)

        told = preview(read_catalog(store, KEYS).entries, doubting(runs, since=runs[2]), NIGHT)

    assert (told.blocked, told.going) == (2, (runs[2],))
