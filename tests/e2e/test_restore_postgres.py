"""Every PostgreSQL strategy brings one of everything back, from a plain dump and from an archive alike."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import objects
from tests.support.compare import PostgresDatabase, assert_databases_are_equal
from tests.support.policies import Policy
from tests.support.properties import dress, form_of, standing_of
from tests.support.restores import Restore, into_postgres, of_policy, restore_request
from tests.support.servers import Servers

EVERYTHING = Path(__file__).resolve().parents[1] / "golden/source/everything.sql"
DAMAGE = """
DROP TABLE app.users CASCADE; DELETE FROM app.conversations; UPDATE app.places SET city = 'Atlantis';
SELECT lo_unlink(424242), setval('app.countdown', 1); DROP VIEW app.quiet;
CREATE TABLE public.made_since AS SELECT 1 AS a; REFRESH MATERIALIZED VIEW app.messages_per_user;
"""
plain_and_custom = pytest.mark.parametrize("policy", ["plain", "custom"])


@pytest.fixture(scope="module")
def site(module_namespace) -> Servers:
    """A server whose database `app` holds one of everything, and a backup of it by policies `plain` and `custom`."""
    space, made = module_namespace, Servers(module_namespace, "restores of everything")
    made.start("postgres")
    dress(made.create_database("app", EVERYTHING.read_bytes()), "app_owner", "app_reader")
    space.apply(made.app_secret(), objects.claim("backups"))
    for name in ("plain", "custom"):
        space.apply(objects.backup_policy(name, objects.postgres_source(format=name.title(), globals=True)))
    for name in ("plain", "custom"):
        Policy(space, name).back_up(f"{name}-now")
    return made


def restore(site: Servers, name: str, policy: str, **target: Any) -> Restore:
    """The policy's newest backup, restored; what is overwritten is confirmed."""
    confirm = {"confirm": target["database"]} if target.get("strategy", "NewDatabase") != "NewDatabase" else {}
    site.namespace.apply(restore_request(name, into_postgres(**target), origin=of_policy(policy), **confirm))
    return Restore(site.namespace, name)


def damaged_copy(site: Servers, name: str) -> PostgresDatabase:
    """A database as `app` was, to which something terrible has happened."""
    site.database("postgres").query(f"CREATE DATABASE {name} TEMPLATE app")
    made = site.database(name)
    made.query(DAMAGE)
    return made


def databases(site: Servers, pattern: str) -> list[str]:
    """Names of the server's databases that match."""
    return site.database("postgres").query(f"SELECT datname FROM pg_database WHERE datname ~ '{pattern}' ORDER BY 1")


@pytest.mark.parametrize(("policy", "wanted"), [("plain", {}), ("custom", {"database": "app_again"})])
def test_a_new_database_holds_everything_and_no_other_is_touched(site: Servers, policy, wanted):
    """Without any word about the target, nothing is overwritten: the new database's name holds the time."""
    before, original = databases(site, "."), site.database().contents()

    status = restore(site, f"new-from-{policy}", policy, **wanted).completed()

    (made,) = set(databases(site, ".")) - set(before)
    assert made == wanted.get("database", made)
    assert made.startswith("app_again" if wanted else "app_restored_2")
    assert_databases_are_equal(site.database(), site.database(made))
    assert form_of(site.database(made)) == form_of(site.database())
    assert site.database().contents() == original
    assert status["rows"] == sum(site.database().rows_per_table().values())
    assert status["undo"] == [f'DROP DATABASE "{made}";']
    site.database("postgres").query("".join(status["undo"]))


@plain_and_custom
def test_a_swapped_database_has_the_old_one_s_standing_and_the_old_one_stays(site: Servers, policy):
    name = f"swapped_{policy}"
    victim = damaged_copy(site, name)
    dress(victim, "app_reader", "app_owner")
    damage, standing, form = victim.contents(), standing_of(victim), form_of(victim)

    done = restore(site, f"swap-{policy}", policy, strategy="SwapDatabase", database=name)
    done.completed()

    (kept,) = databases(site, f"^{name}_before_")
    assert_databases_are_equal(site.database(), victim)
    assert (standing_of(victim), form_of(victim)) == (standing, form)
    assert site.database(kept).contents() == damage
    swap_back, drop_old = done.undo.split("-- To drop")
    if policy == "plain":
        site.database("postgres").query(swap_back)
        assert victim.contents() == damage
    else:
        site.database("postgres").query(drop_old.partition(": ")[2])
        assert databases(site, f"^{name}") == [name]


@plain_and_custom
def test_in_place_everything_is_back_and_what_the_backup_lacks_stays(site: Servers, policy):
    """And the one manifest in the status brings back what was overwritten, which was damage here."""
    victim = damaged_copy(site, f"place_{policy}")
    damage = victim.contents()

    done = restore(site, f"place-{policy}", policy, strategy="InPlace", database=victim.name)
    status = done.completed()

    found = victim.contents()
    assert found.pop("table public.made_since") == damage["table public.made_since"]
    assert found == site.database().contents()
    assert status["safetyBackup"].startswith("safety_")
    victim.query("DROP TABLE public.made_since")
    assert_databases_are_equal(site.database(), victim)
    if policy == "custom":
        take_back(done)
        found = victim.contents()
        assert {name: found.get(name) for name in damage} == damage


def take_back(done: Restore) -> None:
    """Applies the manifest that the status holds, as it is, and waits for its end."""
    name = yaml.safe_load(done.undo)["metadata"]["name"]
    done.namespace.kubectl("apply", "--filename=-", stdin=done.undo.encode())
    Restore(done.namespace, name).completed()
