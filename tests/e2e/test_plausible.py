"""A backup that lost something is told, what was there before is kept, and a person can accept the change."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.telling import assert_all_is_well, event_reasons
from tests.support import objects
from tests.support.kubectl import Namespace
from tests.support.policies import Policy
from tests.support.polling import wait_until
from tests.support.servers import Servers, small_database
from tests.support.shell import LocalShell

ONLY_THE_NEWEST = {"keepLast": 1, "minimum": 1}
TEXTS = b"CREATE TABLE texts AS SELECT n, repeat('x', 1000) AS words FROM generate_series(1, 200) AS n;"
"""Three times what is too small for its size to mean anything."""


def test_rows_that_vanish_are_told_nothing_goes_and_the_command_of_the_message_ends_it(
    ground: Namespace, servers: Servers
):
    database = servers.create_database("emptied", small_database())
    ground.apply(servers.app_secret(SUPABASE_DB_URL=servers.postgres_url("emptied")))
    ground.apply(objects.backup_policy("app", objects.postgres_source(), retention=ONLY_THE_NEWEST))
    policy = Policy(ground, "app")
    full = policy.back_up("full")
    policy.wait_for("Plausible", "True", "NothingToCompare")

    database.query("DELETE FROM visits; DELETE FROM users;")
    emptied = policy.back_up("emptied")

    doubted = policy.wait_for("Plausible", "False", "RowsCollapsed")
    held = policy.wait_for("Retained", "False", "RetentionBlocked")
    policy.wait_for("LastRunSucceeded", "True", "Succeeded")
    policy.wait_for("Ready", "False", "RetentionBlocked")
    assert "0 rows instead of about 1,500" in doubted["message"]
    assert "1 backup that should go by the rules is kept" in held["message"]
    assert policy.columns["READY"] == "False (RetentionBlocked)"
    assert names(policy) == [emptied["name"], full["name"]]
    wait_until(
        lambda: event_reasons(policy),
        lambda told: {"RowsCollapsed", "RetentionBlocked"} <= told,
        for_what="Events of both",
    )

    LocalShell().run("bash", "-c", command_in(doubted["message"]))

    accepted = policy.wait_for("Plausible", "True", "ChangeAccepted")
    assert "A person has accepted it" in accepted["message"]
    assert names(policy) == [emptied["name"], full["name"]], "only a good run deletes"
    assert_all_is_well(policy)

    policy.start("after")
    assert policy.wait_for_job("after") == "Complete"
    wait_until(lambda: policy.status["backupCount"], lambda count: count == 1, for_what="the hold ends")
    policy.wait_for("Retained", "True", "Applied")
    assert policy.status["retention"]["deleted"] == 2
    assert_all_is_well(policy)


def names(policy: Policy) -> list[str]:
    """The backups that the store holds, newest first."""
    return [line["name"] for line in policy.status["backups"]]


def command_in(message: str) -> str:
    """What a message ends in for a person to type."""
    return message[message.index("kubectl ") :]


@dataclass(frozen=True)
class Place:
    """A database and a Redis that a test may change."""

    servers: Servers
    database: str

    def sql(self, words: str) -> None:
        """Statements in the database."""
        self.servers.database(self.database).query(words)

    def delete_keys(self) -> None:
        """Nine of ten keys that do not expire are gone."""
        with self.servers.redis_client() as client:
            client.delete(*(f"key:{number}" for number in range(180)))

    def fill_keys(self) -> None:
        """All of them."""
        with self.servers.redis_client() as client:
            client.mset({f"key:{number}": f"value {number}" for number in range(200)})


@dataclass(frozen=True)
class Loss:
    """Something that goes, and comes back."""

    reason: str
    words: str
    happens: Callable[[Place], None]
    ends: Callable[[Place], None]
    begins: Callable[[Place], None] = lambda _: None
    source: Callable[[], objects.Manifest] = objects.postgres_source


LOSSES = [
    pytest.param(
        Loss(
            "TableVanished",
            "public.visits (500",
            happens=lambda place: place.sql("ALTER TABLE visits RENAME TO away; TRUNCATE away"),
            ends=lambda place: place.sql(
                "ALTER TABLE away RENAME TO visits; INSERT INTO visits SELECT n FROM generate_series(1, 500) n"
            ),
        ),
        id="a table",
    ),
    pytest.param(
        Loss(
            "SizeCollapsed",
            "bytes instead of about",
            begins=lambda place: place.sql(TEXTS.decode()),
            happens=lambda place: place.sql("UPDATE texts SET words = left(words, 9)"),
            ends=lambda place: place.sql("UPDATE texts SET words = repeat('x', 1000)"),
        ),
        id="values",
    ),
    pytest.param(
        Loss(
            "KeysCollapsed",
            "20 keys that do not expire instead of about 200",
            begins=Place.fill_keys,
            happens=Place.delete_keys,
            ends=Place.fill_keys,
            source=objects.redis_source,
        ),
        id="keys",
    ),
]


@pytest.fixture
def place(namespace: Namespace, servers: Servers, request: pytest.FixtureRequest) -> Iterator[Place]:
    """Of the test's own: a database on the shared server, or a Redis."""
    if request.node.callspec.id == "keys":
        own = Servers(namespace, "keys that go")
        own.start("redis")
        namespace.apply(own.app_secret(SUPABASE_DB_URL="unused"), objects.claim("backups"))
        yield Place(own, "")
        return
    name = f"loses_{namespace.name[-8:]}"
    servers.create_database(name, small_database())
    namespace.apply(servers.app_secret(SUPABASE_DB_URL=servers.postgres_url(name)), objects.claim("backups"))
    yield Place(servers, name)


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_lost_is_named_and_all_is_well_when_it_is_back(namespace: Namespace, place: Place, loss: Loss):
    loss.begins(place)
    namespace.apply(objects.backup_policy("app", loss.source()))
    policy = Policy(namespace, "app")
    policy.back_up("whole")

    loss.happens(place)
    policy.back_up("less")

    doubted = policy.wait_for("Plausible", "False", loss.reason)
    assert loss.words in doubted["message"]
    policy.wait_for("Ready", "False", loss.reason)
    wait_until(lambda: event_reasons(policy), lambda told: loss.reason in told, for_what=f"an Event {loss.reason}")

    loss.ends(place)
    policy.back_up("whole-again")

    policy.wait_for("Plausible", "True", "InLine")
    assert_all_is_well(policy)
