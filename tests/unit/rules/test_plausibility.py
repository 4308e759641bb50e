"""When a backup is out of line with those before it, and what of that is housekeeping."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_operator.contract.report import Comparison
from backup_operator.rules.plausibility import (
    COMPARED_RUNS,
    SMALLEST_BYTES,
    SeenRun,
    compare_newest,
)
from backup_operator.vocabulary.reasons import Reason
from tests.support.seen_runs import APP, BIG, Tables, comparison_of, keys, name_of, named, rows


@dataclass(frozen=True)
class Case:
    says: str
    before: list[SeenRun]
    newest: SeenRun
    reason: Reason | None
    tells: str = ""


PARTITIONS: Tables = {f"public.events_2026_{month:02}": 500 for month in range(1, 7)}
OLDEST = [f"ev_2025_{month:02}" for month in range(1, 12)]
YEAR: Tables = APP | dict.fromkeys([*OLDEST, "ev_2025_12"], 10)
CHUNKS: Tables = {f"log.events_p202611{day:02}": 500 for day in range(10, 20)}


def without(tables: Tables, *names: str, **more: int) -> Tables:
    return {name: count for name, count in tables.items() if name not in names} | more


CASES = [
    Case("the same again", [rows(APP)] * 7, rows(APP), None),
    Case("growth", [rows(APP)] * 7, rows({name: 50 * count for name, count in APP.items()}, 50 * BIG), None),
    Case("a little less", [rows(APP)] * 7, rows(APP | {"public.orders": 1500}), None),
    Case(
        "no rows in any table",
        [rows(APP)],
        rows(dict.fromkeys(APP, 0)),
        Reason.ROWS_COLLAPSED,
        "holds 0 rows instead of about 4,000 (0 of 3,000 in public.orders, 0 of 1,000 in public.users)",
    ),
    Case("no rows in a tiny database", [rows({"users": 2})], rows({"users": 0}), Reason.ROWS_COLLAPSED, "0 rows"),
    Case("half of a tiny database", [rows({"users": 9})] * 7, rows({"users": 2}), None),
    Case(
        "less than half",
        [rows(APP)] * 2,
        rows(APP | {"public.orders": 900}),
        Reason.ROWS_COLLAPSED,
        "holds 1,900 rows instead of about 4,000 (900 of 3,000 in public.orders)",
    ),
    Case(
        "a table that is gone",
        [rows(APP)],
        rows(without(APP, "public.users")),
        Reason.TABLE_VANISHED,
        "lacks 1 table that held rows: public.users (1,000)",
    ),
    Case(
        "many tables that are gone",
        [rows({f"t{number}": number for number in range(1, 6)} | APP)],
        rows(APP),
        Reason.TABLE_VANISHED,
        "lacks 5 tables that held rows: t5 (5), t4 (4), t3 (3), …",
    ),
    Case("an empty table that is gone", [rows(APP)], rows(without(APP, "public.notes")), None),
    Case("all tables that are gone", [rows(APP)], rows({}), Reason.TABLE_VANISHED, "holds 0 rows instead of"),
    Case("a new table", [rows(APP)], rows(APP | {"public.more": 5}), None),
    Case(
        "a steady table that is empty",
        [rows(APP)] * 3,
        rows(APP | {"public.users": 0}),
        Reason.ROWS_COLLAPSED,
        "holds no row in 1 table that held rows: public.users (1,000)",
    ),
    Case("a table that is empty, known for two runs", [rows(APP)] * 2, rows(APP | {"public.users": 0}), None),
    Case("a queue of a few that is empty", [rows(APP | {"queue": 4})] * 7, rows(APP | {"queue": 0}), None),
    Case(
        "a queue that is empty every third night",
        [rows(APP | {"queue": depth}) for depth in (50, 60, 0, 70, 30, 0, 80, 20)],
        rows(APP | {"queue": 0}),
        None,
    ),
    Case(
        "a big table wiped beside a bigger one",
        [rows({"users": 200_000, "events": 10_000_000})] * 3,
        rows({"users": 1, "events": 10_000_000}),
        Reason.ROWS_COLLAPSED,
        "holds only 1 row in 1 table that held rows: users (200,000)",
    ),
    Case(
        "a table wiped the night after most of it went",
        [*[rows({"users": 200_000, "events": 10_000_000})] * 6, rows({"users": 21_000, "events": 10_000_000})],
        rows({"users": 2_200, "events": 10_000_000}),
        Reason.ROWS_COLLAPSED,
        "holds only 2,200 rows in 1 table that held rows: users (21,000)",
    ),
    Case(
        "a table that becomes a fifth",
        [rows({"users": 200_000, "events": 10_000_000})] * 7,
        rows({"users": 40_000, "events": 10_000_000}),
        None,
    ),
    Case(
        "a queue that is short every third night",
        [rows({"queue": depth, "events": 10_000_000}) for depth in (5000, 6000, 12, 7000, 3000, 15, 8000)],
        rows({"queue": 20, "events": 10_000_000}),
        None,
    ),
    Case(
        "a table wiped, known for two runs",
        [rows({"users": 200_000, "events": 10_000_000})] * 2,
        rows({"users": 1, "events": 10_000_000}),
        None,
    ),
    Case(
        "the oldest partition nearly emptied before it is dropped",
        [rows(PARTITIONS)] * 7,
        rows(PARTITIONS | {"public.events_2026_01": 3}),
        None,
    ),
    Case(
        "the oldest partitions dropped",
        [rows(PARTITIONS)] * 7,
        rows(without(PARTITIONS, "public.events_2026_01", "public.events_2026_02", **{"public.events_2026_07": 9})),
        None,
    ),
    Case(
        "the oldest partition emptied before it is dropped",
        [rows(PARTITIONS)] * 7,
        rows(PARTITIONS | {"public.events_2026_01": 0}),
        None,
    ),
    Case(
        "an emptied partition dropped together with the next one",
        [rows(PARTITIONS | {"public.events_2026_01": 0})] * 7,
        rows(without(PARTITIONS, "public.events_2026_01", "public.events_2026_02")),
        None,
    ),
    Case("the oldest day dropped", [rows(CHUNKS)] * 7, rows(without(CHUNKS, "log.events_p20261110")), None),
    Case(
        "all partitions but the newest dropped",
        [rows(YEAR)] * 7,
        rows(APP | {"ev_2025_12": 10}),
        Reason.TABLE_VANISHED,
        "lacks 11 tables that held rows: ev_2025_01",
    ),
    Case(
        "all partitions but the newest emptied",
        [rows(YEAR)] * 7,
        rows(dict.fromkeys(YEAR, 0) | APP | {"ev_2025_12": 10}),
        Reason.ROWS_COLLAPSED,
        "holds no row in 11 tables",
    ),
    Case("a third of the partitions dropped", [rows(YEAR)] * 7, rows(without(YEAR, *OLDEST[:4])), None),
    Case("more than a third", [rows(YEAR)], rows(without(YEAR, *OLDEST[:5])), Reason.TABLE_VANISHED, "lacks 5 tables"),
    Case(
        "more than a third, and as many new ones",
        [rows(YEAR | {f"ev_2026_{month:02}": 0 for month in range(1, 9)})],
        rows(without(YEAR, *OLDEST[:5]) | {f"ev_2026_{month:02}": 10 for month in range(1, 6)}),
        None,
    ),
    Case(
        "one of two yearly tables",
        [rows(APP | {"orders_2024": 20, "orders_2025": 20})],
        rows(APP | {"orders_2025": 20}),
        Reason.TABLE_VANISHED,
        "orders_2024 (20)",
    ),
    Case(
        "one of two yearly tables when the next one has come",
        [rows(APP | {"orders_2024": 20, "orders_2025": 20})],
        rows(APP | {"orders_2025": 20, "orders_2026": 1}),
        None,
    ),
    Case(
        "a partition in the middle dropped",
        [rows(PARTITIONS)] * 7,
        rows(without(PARTITIONS, "public.events_2026_03")),
        Reason.TABLE_VANISHED,
        "public.events_2026_03",
    ),
    Case(
        "one of the numbered tables dropped",
        [rows({f"users_{number}": 500 for number in range(8)})],
        rows({f"users_{number}": 500 for number in range(1, 8)}),
        Reason.TABLE_VANISHED,
        "users_0",
    ),
    Case(
        "a dated table without a younger one",
        [rows(APP | {"archive_2024": 20})],
        rows(APP),
        Reason.TABLE_VANISHED,
        "archive_2024",
    ),
    Case(
        "values that are gone though all rows are there",
        [rows(APP)] * 7,
        rows(APP, BIG // 3),
        Reason.SIZE_COLLAPSED,
        f"unpacks to {BIG // 3:,} bytes instead of about {BIG:,}",
    ),
    Case("a small dump that shrinks", [rows(APP, SMALLEST_BYTES - 1)] * 7, rows(APP, 1), None),
    Case("rows that nobody counted", [rows(APP)] * 7, SeenRun("", "spec", BIG), None),
    Case("an odd night before", [rows(APP)] * 5 + [rows(APP | {"public.orders": 90_000})], rows(APP), None),
    Case("keys as before", [keys(500)] * 7, keys(480), None),
    Case(
        "keys that are gone",
        [keys(500)],
        keys(100),
        Reason.KEYS_COLLAPSED,
        "holds 100 keys that do not expire instead of about 500",
    ),
    Case("an empty Redis of a few keys", [keys(5)], keys(0), Reason.KEYS_COLLAPSED, "holds 0 keys"),
    Case("a few keys that become fewer", [keys(9)] * 7, keys(2), None),
    Case("a cache that was flushed", [keys(0, 90_000)] * 7, keys(0, 40, 10), None),
    Case("a cache without a key", [keys(0, 90_000)] * 7, keys(0, 0, 10), Reason.KEYS_COLLAPSED, "holds no key at all"),
    Case("an empty Redis of sessions", [keys(50, 1000)], keys(0), Reason.KEYS_COLLAPSED, "instead of about 1,050"),
    Case("a small cache without a key", [keys(0, 99)] * 7, keys(0), None),
    Case("a cache that was empty before", [keys(0), *[keys(0, 900)] * 5], keys(0), None),
    Case("a cache with a lock that is not held now", [keys(1, 90_000)] * 7, keys(0, 90_000), None),
    Case("keys lost beside a cache", [keys(500, 90_000)] * 7, keys(0, 95_000), Reason.KEYS_COLLAPSED, "0 keys"),
    Case("a flushed cache beside keys that stay", [keys(500, 90_000)] * 7, keys(500, 0, 10), None),
    Case("large values lost", [keys(500, 5)] * 7, keys(500, 5, BIG // 4), Reason.SIZE_COLLAPSED, "unpacks to"),
    Case(
        "another spec",
        [rows(APP)] * 7,
        replace(rows(without(APP, "public.users")), spec_digest="another"),
        Reason.TABLE_VANISHED,
        "the policy's spec has been changed since, which may be the cause",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.says for case in CASES])
def test_a_backup_is_compared_with_those_before_it(case):
    compared = comparison_of(*case.before, case.newest)

    assert compared.reason == case.reason
    assert case.tells in compared.message
    assert bool(compared.message) == bool(case.reason)
    assert compared.compared_with == min(len(case.before), COMPARED_RUNS)
    assert compared.since_run == (compared.run if case.reason else "")


def test_the_whole_message_names_run_findings_and_measure():
    compared = comparison_of(*[rows(APP)] * 3, rows({"public.orders": 10}, 100))

    assert compared.message == (
        "backup_20261101_030000 lacks 1 table that held rows: public.users (1,000); "
        "holds 10 rows instead of about 4,000 (10 of 3,000 in public.orders); "
        f"unpacks to 100 bytes instead of about {BIG:,}; "
        "compared with the 3 backups in line up to backup_20261101_020000"
    )


def test_without_a_backup_there_is_nothing_to_say():
    assert compare_newest([]) is None


def test_a_first_backup_has_nothing_to_be_compared_with():
    compared = comparison_of(rows({}, 1))

    assert compared == Comparison(run=name_of(0), compared_with=0)


GOOD, BAD = rows(APP), rows(dict.fromkeys(APP, 0))


def test_a_collapse_is_told_from_its_first_run_on_however_many_follow():
    compared = comparison_of(*[GOOD] * 3, BAD, GOOD, *[BAD] * 40)

    assert compared.reason is Reason.ROWS_COLLAPSED
    assert compared.since_run == name_of(5)
    assert compared.compared_with == 4


def test_the_first_run_out_of_line_is_known_though_retention_has_deleted_it():
    later = replace(BAD, out_since=name_of(3))
    store = [run for number, run in enumerate(named([*[GOOD] * 3, BAD, later, later])) if number != 3]

    compared = compare_newest(store)
    accepted_meanwhile = compare_newest([*store, replace(BAD, name=name_of(6))], name_of(4))

    assert compared is not None
    assert compared.since_run == name_of(3)
    assert accepted_meanwhile is not None
    assert accepted_meanwhile.since_run == ""


def test_what_was_in_line_when_it_was_made_stays_so_though_what_was_between_is_gone():
    """Ten years of monthly backups shrank by and by; retention has left two of them."""
    thinned = [rows({"users": 90_000}), rows({"users": 9_000}, was_in_line=True), rows({"users": 8_900})]

    assert comparison_of(*thinned).reason is None
    assert comparison_of(*thinned, rows({"users": 3})).reason is Reason.ROWS_COLLAPSED


TABLES = st.dictionaries(st.sampled_from(["users", "orders", "log_2026_01", "log_2026_02"]), st.integers(0, 5000))
SIZES = st.integers(0, 10 * SMALLEST_BYTES)
RUNS = st.one_of(
    st.builds(rows, TABLES, SIZES, was_in_line=st.booleans(), out_since=st.integers(0, 20).map(name_of)),
    st.builds(keys, st.integers(0, 900), st.integers(0, 900), SIZES),
)
STORES = st.lists(RUNS, max_size=20).map(named)


@settings(deadline=None)
@given(STORES, st.randoms(), st.integers(-1, 21))
def test_the_order_in_which_the_runs_are_read_does_not_matter(runs, random, accepted):
    shuffled = random.sample(runs, len(runs))

    wanted = name_of(accepted) if accepted >= 0 else ""

    assert compare_newest(shuffled, wanted) == compare_newest(runs, wanted)


@settings(deadline=None)
@given(STORES, RUNS, st.integers(1, 60))
def test_a_collapse_that_nobody_accepts_never_becomes_plausible_by_itself(runs, collapsed, days):
    collapsed = replace(collapsed, was_in_line=False)
    first = comparison_of(*runs, collapsed)
    later = comparison_of(*runs, *[collapsed] * (1 + days))

    assert first.reason is None or (later.reason, later.since_run) == (first.reason, first.since_run)


FULL = st.dictionaries(st.sampled_from(["users", "orders", "items"]), st.integers(100, 5000), min_size=1)


@settings(deadline=None)
@given(FULL, st.data(), st.integers(1, 9), st.integers(1, 10))
def test_data_that_is_back_is_in_line_at_once(full, data, nights_before, nights_out):
    lost = data.draw(st.sets(st.sampled_from(sorted(full))))
    left = {name: count // 3 for name, count in full.items() if name not in lost}
    store = [*[rows(full)] * nights_before, *[rows(left)] * nights_out]

    assert comparison_of(*store).since_run == name_of(nights_before)
    assert comparison_of(*store, rows(full)) == Comparison(
        run=name_of(len(store)), compared_with=min(nights_before, COMPARED_RUNS)
    )


@settings(deadline=None)
@given(STORES, RUNS, st.integers(0, 9))
def test_whoever_accepts_the_newest_run_has_it_accepted(runs, collapsed, more):
    store = [*runs, *[replace(collapsed, was_in_line=False)] * (1 + more)]

    compared = comparison_of(*store, accepted=len(store) - 1)

    assert compared.reason is None


@settings(deadline=None)
@given(STORES, st.integers(0, 20))
def test_a_hold_begins_at_the_newest_run_or_before_it_and_after_what_it_is_compared_with(runs, accepted):
    compared = compare_newest(runs, name_of(accepted))

    if compared is not None and compared.reason is not None:
        assert runs[0].name < compared.since_run <= compared.run
        assert not compared.accepted
        assert compared.compared_with > 0
