"""A restore's report fits into a termination message, and says what matters most even then."""

from datetime import UTC, datetime

import pytest

from backup_operator.contract.report import REPORT_LIMIT_BYTES, Fault
from backup_operator.contract.restore import CheckFound, RestoreReport, StepTaken, decode_restore, encode_restore
from backup_operator.vocabulary.choices import Outcome
from backup_operator.vocabulary.reasons import Reason

_AT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def _report(**fields) -> RestoreReport:
    return RestoreReport(outcome=Outcome.SUCCEEDED, dry_run=False, started_at=_AT, completed_at=_AT, **fields)


def test_a_report_that_fits_comes_back_as_it_was():
    report = _report(run="backup_20261123_020000", plan=("one", "two"), counts={"public.users": 3}, counted=3)

    assert decode_restore(encode_restore(report)) == report


@pytest.mark.parametrize("letter", ["x", "ü", "\x01", '"'])
def test_the_longest_report_fits_and_keeps_its_end(letter):
    long = letter * 2_000
    report = _report(
        run="backup_20261123_020000",
        pin="0123456789abcdef",
        plan=(long,) * 200,
        obstacles=(long,) * 200,
        notes=(long,) * 200,
        undo=(long,) * 200,
        steps=tuple(StepTaken(name=f"step {number}", seconds=1.5) for number in range(300)),
        counts={f"public.table_{number}": number for number in range(5_000)},
        counted=12_497_500,
        checks=tuple(CheckFound(name=f"c{n}", expected=long, found=long, passed=n != 49) for n in range(50)),
        fault=Fault(reason=Reason.CHECK_FAILED, message=long, detail=long, hint=long),
    )

    encoded = encode_restore(report)

    assert len(encoded) <= REPORT_LIMIT_BYTES
    found = decode_restore(encoded)
    assert (found.run, found.pin, found.counted) == (report.run, report.pin, report.counted)
    assert found.fault is not None
    assert found.fault.reason is Reason.CHECK_FAILED
    assert not found.checks[0].passed
    assert "more, see the log" in found.plan[-1]
