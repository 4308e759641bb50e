"""An order is read as it was written, and a wrong one is refused."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from backup_operator.contract.order import (
    BackupOrder,
    PolicyIdentity,
    PostgresOrder,
    RedisOrder,
    RetentionOrder,
    SecretFile,
    StoreOrder,
)
from backup_operator.vocabulary.choices import SourceKind

SECRET = SecretFile(path="/etc/secrets/url", described="key URL of Secret ns/app", command="kubectl create secret …")


def _order(**source) -> BackupOrder:
    return BackupOrder(
        policy=PolicyIdentity(namespace="ns", name="app", spec_digest="0123"),
        passphrase=SECRET,
        store=StoreOrder(mount="/backups", path="ns/app", described="claim ns/backups"),
        deadline=timedelta(hours=6),
        **source,
    )


def test_an_order_comes_back_as_it_was_written():
    order = _order(postgres=PostgresOrder(url=SECRET, globals=True))

    assert BackupOrder.model_validate_json(order.model_dump_json()) == order
    assert order.source_kind is SourceKind.POSTGRES


@pytest.mark.parametrize(
    "source",
    [{}, {"postgres": PostgresOrder(url=SECRET), "redis": RedisOrder(url=SECRET)}],
    ids=["no source", "two sources"],
)
def test_an_order_has_exactly_one_source(source):
    with pytest.raises(ValidationError, match="exactly one of postgres and redis"):
        _order(**source)


def test_an_order_with_an_unknown_field_is_refused():
    letter = _order(redis=RedisOrder(url=SECRET)).model_dump() | {"speed": "high"}

    with pytest.raises(ValidationError, match="speed"):
        BackupOrder.model_validate(letter)


def test_an_order_without_retention_says_nothing_of_it():
    order = _order(redis=RedisOrder(url=SECRET))

    assert order.retention is None
    assert "retention" not in order.model_dump_json(exclude_none=True)


def test_retention_comes_back_as_it_was_written():
    retention = RetentionOrder(max_age=timedelta(days=30), keep_daily=7, minimum=1, time_zone="Europe/Berlin")
    order = _order(redis=RedisOrder(url=SECRET), retention=retention)

    assert BackupOrder.model_validate_json(order.model_dump_json(exclude_none=True)).retention == retention


@pytest.mark.parametrize(
    "wrong", [{"minimum": 0}, {"keep_last": -1}, {"keep_yearly": -1}, {"max_age": "PT0S"}, {"keep_hourly": 1}], ids=str
)
def test_retention_that_would_keep_nothing_is_refused(wrong):
    with pytest.raises(ValidationError):
        RetentionOrder.model_validate(wrong)
