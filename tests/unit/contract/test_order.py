"""An order is read as it was written, and a wrong one is refused."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from backup_operator.contract.order import (
    BackupOrder,
    PolicyIdentity,
    PostgresOrder,
    RedisOrder,
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
