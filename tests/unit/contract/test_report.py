"""The report fits into a termination message, whatever is in it, and what matters most stays."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from backup_operator.contract.report import (
    LISTED_DELETIONS,
    REPORT_LIMIT_BYTES,
    BackupLine,
    Catalog,
    Comparison,
    Departure,
    Fault,
    Report,
    RetentionResult,
    StorageUse,
    decode,
    encode,
)
from backup_operator.vocabulary.choices import Outcome
from backup_operator.vocabulary.reasons import Reason

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def _line(number: int) -> BackupLine:
    started_at = NOON - timedelta(days=number)
    return BackupLine(
        name=f"backup_{started_at:%Y%m%d_%H%M%S}",
        started_at=started_at,
        completed_at=started_at + timedelta(seconds=125, microseconds=123456),
        size_bytes=10**12,
        rows=10**10,
    )


def _report(**changes) -> Report:
    known = {"outcome": Outcome.FAILED, "run": "backup_20261123_120000", "started_at": NOON, "completed_at": NOON}
    return Report.model_validate(known | changes)


def test_a_report_comes_back_as_it_was_written():
    report = _report(
        outcome=Outcome.SUCCEEDED,
        backup=_line(0),
        catalog=Catalog(count=2, oldest_at=NOON, backups=(_line(0), _line(1))),
    )

    assert decode(encode(report)) == report


def test_twenty_backups_of_an_ordinary_store_fit_whole():
    report = _report(catalog=Catalog(count=400, oldest_at=NOON, backups=tuple(_line(number) for number in range(20))))

    letter = encode(report)

    assert len(letter) <= REPORT_LIMIT_BYTES
    found = decode(letter).catalog
    assert found is not None
    assert len(found.backups) == 20


@given(
    text=st.text(max_size=6000),
    warnings=st.lists(st.text(max_size=2000), max_size=8),
    backups=st.integers(min_value=0, max_value=20),
)
def test_a_report_never_exceeds_the_limit_and_keeps_its_reason(text, warnings, backups):
    fault = Fault(reason=Reason.PERMISSION_DENIED, message=text, detail=text, hint=text)
    catalog = Catalog(count=backups, backups=tuple(_line(number) for number in range(backups)))
    report = _report(fault=fault, warnings=tuple(warnings), catalog=catalog)

    letter = encode(report)

    assert len(letter) <= REPORT_LIMIT_BYTES
    found = decode(letter)
    assert found.fault is not None
    assert found.fault.reason is Reason.PERMISSION_DENIED
    assert found.catalog is not None
    assert found.catalog.count == backups


@pytest.mark.parametrize("letter", ["\x00", "\x01", "\x1b", "\x7f", "\n", '"', "\\", "\U0001f600"], ids=ascii)
def test_texts_that_json_makes_longer_fit_too(letter):
    text = letter * 5000
    report = _report(
        fault=Fault(reason=Reason.INTERNAL_ERROR, message=text, detail=text, hint=text), warnings=(text,) * 10
    )

    assert len(encode(report)) <= REPORT_LIMIT_BYTES


def test_the_newest_backups_are_kept_when_the_message_is_long():
    fault = Fault(reason=Reason.TLS_FAILED, message="é" * 3000, detail="é" * 3000, hint="é" * 3000)
    report = _report(fault=fault, catalog=Catalog(count=20, backups=tuple(_line(number) for number in range(20))))

    found = decode(encode(report))

    assert found.catalog is not None
    names = [line.name for line in found.catalog.backups]
    assert names
    assert names == [_line(number).name for number in range(len(names))]


@pytest.mark.parametrize("letter", [b"", b"Killed", b"{}", b'{"version": 2}', b"\xff"], ids=repr)
def test_what_is_no_report_is_refused(letter):
    with pytest.raises(ValueError, match=r".+"):
        decode(letter)


def test_a_time_without_a_zone_is_no_report():
    letter = encode(_report()).replace(b'"started_at":"2026-11-23T12:00:00Z"', b'"started_at":"2026-11-23T12:00:00"')

    with pytest.raises(ValidationError, match="timezone"):
        decode(letter)


RULES = tuple(
    f"{rule}: kept 30, next to go backup_20261123_120000 on 2026-12-24"
    for rule in (
        "maxAge 30d",
        "last 5",
        "daily 7",
        "weekly 4",
        "monthly 12",
        "yearly 3",
        "minimum 3, against all others",
    )
)


def _result(**changes) -> RetentionResult:
    known = {"applied_at": NOON, "kept": 30, "deleted": ("backup_20261123_120000",), "deleted_count": 1, "rules": RULES}
    departure = Departure(run="backup_20261123_120000", at=NOON + timedelta(days=31))
    return RetentionResult.model_validate(known | {"next_to_go": departure} | changes)


def test_what_retention_did_comes_back_as_it_was_written():
    report = _report(outcome=Outcome.SUCCEEDED, backup=_line(0), retention=_result(left=("one",), stopped="full"))

    assert decode(encode(report)) == report


def test_beside_what_retention_did_most_of_twenty_backups_fit():
    backups = tuple(_line(number) for number in range(20))
    report = _report(backup=_line(0), catalog=Catalog(count=400, backups=backups), retention=_result())

    found = decode(encode(report))

    assert found.retention == report.retention
    assert found.catalog is not None
    assert len(found.catalog.backups) >= 14


def test_of_a_thousand_deletions_the_oldest_are_named_and_all_counted():
    names = tuple(f"backup_20261123_12{number:04}" for number in range(1000))

    letter = encode(_report(retention=_result(deleted=names, deleted_count=1000)))

    assert len(letter) <= REPORT_LIMIT_BYTES
    found = decode(letter).retention
    assert found is not None
    assert found.deleted == names[:LISTED_DELETIONS]
    assert found.deleted_count == 1000


@pytest.mark.parametrize("letter", ["\x00", '"', "\\", "\U0001f600"], ids=ascii)
def test_what_retention_did_never_exceeds_the_limit(letter):
    text = letter * 5000
    fault = Fault(reason=Reason.INTERNAL_ERROR, message=text, detail=text, hint=text)
    result = _result(rules=(text,) * 20, left=(text,) * 20, stopped=text)

    found = decode(encode(_report(fault=fault, warnings=(text,) * 10, retention=result)))

    assert found.retention is not None
    assert found.retention.deleted_count == 1
    assert found.retention.stopped


# the longest report there can be

WIDE = "\\" * 6000
"""Of every text; JSON takes two bytes for each letter."""
_FAR = NOON + timedelta(days=366, microseconds=123456)
_NAMES = tuple(f"backup_20261123_12{number:04}" for number in range(3000))


def _the_longest() -> Report:
    line = _line(0).model_copy(update={"size_bytes": 10**18, "rows": 10**18})
    result = RetentionResult(
        applied_at=_FAR,
        kept=10**6,
        held_back=10**6,
        deleted=_NAMES,
        deleted_count=10**6,
        freed_bytes=10**18,
        left=(WIDE,) * 3,
        next_to_go=Departure(run=_NAMES[0], at=_FAR),
        rules=(WIDE,) * 9,
        stopped=WIDE,
        dry_run=True,
        going=_NAMES,
        going_count=10**6,
        going_bytes=10**18,
        blocked=10**6,
        rules_digest="0123456789abcdef" * 4,
    )
    return Report(
        kind="Inventory",
        outcome=Outcome.FAILED,
        run=_NAMES[0],
        started_at=_FAR,
        completed_at=_FAR,
        backup=line,
        fault=Fault(reason=Reason.CLUSTER_MODE_UNSUPPORTED, message=WIDE, detail=WIDE, hint=WIDE, retryable=True),
        warnings=(WIDE,) * 50,
        storage=StorageUse(used_bytes=10**18, capacity_bytes=10**18, store_bytes=10**18, full_at=_FAR),
        catalog=Catalog(
            count=10**6,
            locked=10**6,
            oldest_at=_FAR,
            old_files=10**6,
            foreign_files=10**6,
            other_names=(WIDE[:80],) * 4,
            backups=(line,) * 20,
        ),
        retention=result,
        comparison=Comparison(
            run=_NAMES[0],
            compared_with=10**6,
            reason=Reason.TABLE_VANISHED,
            since_run=_NAMES[0],
            message=WIDE,
            accepted=True,
        ),
    )


def test_the_longest_report_fits_and_keeps_every_figure():
    letter = encode(_the_longest())

    assert len(letter) <= REPORT_LIMIT_BYTES
    found, whole = decode(letter), _the_longest()
    assert found.storage == whole.storage
    assert found.backup == whole.backup
    assert found.retention is not None
    assert whole.retention is not None
    texts = {"deleted", "going", "left", "rules", "stopped"}
    assert found.retention.model_dump(exclude=texts) == whole.retention.model_dump(exclude=texts)
    assert found.retention.going == _NAMES[:LISTED_DELETIONS]
    assert found.catalog is not None
    assert (found.catalog.old_files, found.catalog.foreign_files) == (10**6, 10**6)
    assert found.comparison is not None
    assert found.comparison.reason is Reason.TABLE_VANISHED


def test_an_ordinary_good_run_with_retention_and_comparison_fits_whole_but_for_some_backups():
    backups = tuple(_line(number) for number in range(20))
    comparison = Comparison(run=_line(0).name, compared_with=10, message="")
    storage = StorageUse(used_bytes=10**10, capacity_bytes=10**11, store_bytes=10**9, full_at=_FAR)
    report = _report(
        outcome=Outcome.SUCCEEDED,
        backup=_line(0),
        storage=storage,
        catalog=Catalog(count=400, oldest_at=NOON, old_files=12, other_names=("backup_20200101_020000.sql.gz.gpg",)),
        retention=_result(rules_digest="0123456789abcdef"),
        comparison=comparison,
    )
    report = report.model_copy(
        update={"catalog": report.catalog and report.catalog.model_copy(update={"backups": backups})}
    )

    found = decode(encode(report))

    assert found.catalog is not None
    assert len(found.catalog.backups) >= 12
    assert found.model_copy(update={"catalog": None}) == report.model_copy(update={"catalog": None})
