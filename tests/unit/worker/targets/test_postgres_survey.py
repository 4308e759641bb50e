"""Lists in a plan: the first few by name, and all of them where a person can look."""

import logging

from backup_operator.worker.targets.postgres_survey import listed


def test_a_short_list_is_told_in_full(caplog):
    caplog.set_level(logging.INFO)

    assert listed(["a", "b"]) == "a, b"
    assert caplog.records == []


def test_of_a_long_list_the_log_has_all(caplog):
    caplog.set_level(logging.INFO)

    assert listed([f"t{number}" for number in range(600)], 2) == "t0, t1 and 598 more (the log lists all 600)"

    (record,) = caplog.records
    assert record.fields["items"] == [f"t{number}" for number in range(600)]
