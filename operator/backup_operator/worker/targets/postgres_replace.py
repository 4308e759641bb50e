"""Room `worker.targets`: what InPlace drops, keeps, and finds in the way; called by `targets.postgres_in_place`.

Decided from the target's catalog: what the backup makes and the target has is dropped with its parts; what hangs on it
and is in no backup is in the way. A function that others hang on is replaced where it stands, as long as it can be.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from backup_operator.worker.targets.postgres_inventory import Address, Item, Key, names, read_inventory

_PARTS: LiteralString = """
select distinct d.classid::bigint, d.objid::bigint from pg_depend d
join unnest(%s::bigint[], %s::bigint[]) as r(classid, objid) on d.refclassid = r.classid and d.refobjid = r.objid
where d.deptype in ('a', 'i', 'P', 'S')
"""
_HANGING: LiteralString = """
select distinct d.classid::bigint, d.objid::bigint, d.refclassid::bigint, d.refobjid::bigint,
       coalesce(i.refclassid, d.classid)::bigint, coalesce(i.refobjid, d.objid)::bigint,
       pg_describe_object(coalesce(i.refclassid, d.classid), coalesce(i.refobjid, d.objid),
                          case when i.refobjid is null then d.objsubid else 0 end)
from pg_depend d
join unnest(%s::bigint[], %s::bigint[]) as r(classid, objid) on d.refclassid = r.classid and d.refobjid = r.objid
left join pg_depend i on i.classid = d.classid and i.objid = d.objid and i.deptype = 'i'
where d.deptype = 'n'
"""
_IDENTITIES: LiteralString = """
select i.type, i.identity from unnest(%s::bigint[], %s::bigint[]) with ordinality as r(classid, objid, n),
       pg_identify_object(r.classid::oid, r.objid::oid, 0) i where i.identity is not null order by r.n
"""
_PUBLISHED: LiteralString = """
select p.pubname::text, pr.prrelid::regclass::text, pg_has_role(current_user, p.pubowner, 'MEMBER')
from pg_publication_rel pr join pg_publication p on p.oid = pr.prpubid
where pr.prrelid = any (%s) order by 1, 2
"""
_PARTITIONS: LiteralString = """
select pg_describe_object('pg_class'::regclass, i.inhrelid, 0) from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = any (%s) and c.relispartition and i.inhrelid <> all (%s) and c.relkind in ('r', 'p', 'f')
"""
_LEFT_ALONE = frozenset({"SCHEMA", "EXTENSION", "LANGUAGE", "FOREIGN DATA WRAPPER", "SERVER"})
"""Kinds that are kept when they are there, since much may hang on them."""
_KEPT_WHEN_FOREIGN = frozenset({"PUBLICATION", "EVENT TRIGGER"})
"""Kinds that are kept when they belong to others."""
_DROP_WORDS = {"foreign-data wrapper": "foreign data wrapper", "statistics object": "statistics"}
_DROPPED_AT_ONCE = 200


@dataclass(frozen=True)
class Replacement:
    """What is done about the objects that are in the backup and in the target."""

    dropped: tuple[Item, ...] = ()
    replaced: tuple[Item, ...] = ()
    """Functions that stay, with a new body."""
    left_alone: tuple[Item, ...] = ()
    """There, so not made again."""
    foreign: tuple[Item, ...] = ()
    """Of those left alone, the ones of others: nothing about them is changed."""
    not_ours: tuple[Item, ...] = ()
    """To be dropped, but our role may not."""
    in_the_way: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    published: tuple[tuple[str, str, bool], ...] = ()
    """(publication, table, ours) of publications that stay, whose tables are dropped."""
    locks: int = 0
    """Locks that the drops take."""
    relations: tuple[int, ...] = ()
    """The oids of the relations that are dropped, to ask who holds them."""


def plan_replacement(connection: psycopg.Connection, keys: Collection[Key]) -> Replacement:
    """What happens to the target's objects. Leaves the search_path empty. Raises: psycopg.Error."""
    connection.execute("select pg_catalog.set_config('search_path', '', false)")
    inventory = read_inventory(connection)
    there = [inventory[key] for key in keys if key in inventory]
    alone = [each for each in there if _stays(each)]
    dropped = [each for each in there if each not in alone]
    replaced: list[Item] = []
    while True:
        parts, hanging = _closure(connection, [each.address for each in dropped])
        held = {reference for _, reference, _ in hanging}
        functions = [each for each in dropped if each.kind == "FUNCTION" and each.address in held]
        if not functions:
            break
        replaced += functions
        dropped = [each for each in dropped if each not in functions]
    relations = tuple(each.address[1] for each in dropped if each.kind == "RELATION")
    published = connection.execute(_PUBLISHED, [list(relations)]).fetchall()
    gone = {each.key[2] for each in dropped if each.kind == "PUBLICATION"}
    return Replacement(
        dropped=tuple(dropped),
        replaced=tuple(replaced),
        left_alone=tuple(alone),
        foreign=tuple(each for each in alone if not each.is_ours),
        not_ours=tuple(each for each in dropped if not each.is_ours),
        in_the_way=tuple(sorted({described for _, _, described in hanging} | _partitions(connection, relations))),
        kept=tuple(_kept([each for each in inventory.values() if each.address not in parts], there)),
        published=tuple((name, table, ours) for name, table, ours in published if name not in gone),
        locks=len(parts),
        relations=relations,
    )


def drop(connection: psycopg.Connection, replacement: Replacement) -> None:
    """Drop what is replaced, with all that hangs on it. Raises: psycopg.Error."""
    addresses = [each.address for each in replacement.dropped]
    found = connection.execute(_IDENTITIES, _columns(addresses)).fetchall()
    by_kind: dict[str, list[str]] = {}
    for kind, identity in found:
        word = _DROP_WORDS.get(str(kind)) or str(kind)
        by_kind.setdefault(word, []).append(str(identity))
    for kind, identities in by_kind.items():
        for start in range(0, len(identities), _DROPPED_AT_ONCE):
            for statement in _drops(kind, identities[start : start + _DROPPED_AT_ONCE]):
                connection.execute(statement)


def publish_again(connection: psycopg.Connection, replacement: Replacement) -> tuple[str, ...]:
    """Put the replaced tables back into the publications that stay; answers what has to be done by hand.

    Raises: psycopg.Error.
    """
    notes = []
    for publication, table, ours in replacement.published:
        statement = sql.SQL("alter publication {} add table only {}").format(
            sql.Identifier(publication), sql.SQL(table)
        )
        if ours:
            connection.execute(statement)
        else:
            notes.append(f"As its owner, put the table back: {statement.as_string(connection)};")
    return tuple(notes)


def _drops(kind: str, identities: list[str]) -> Iterable[bytes]:
    """One statement for several objects where the kind allows that."""
    if kind in ("event trigger", "publication", "operator"):
        return [f"drop {kind} if exists {identity} cascade".encode() for identity in identities]
    return [f"drop {kind} if exists {', '.join(identities)} cascade".encode()]


def _stays(item: Item) -> bool:
    return item.kind in _LEFT_ALONE or (item.kind in _KEPT_WHEN_FOREIGN and not item.is_ours)


def _closure(
    connection: psycopg.Connection, start: list[Address]
) -> tuple[set[Address], list[tuple[Address, Address, str]]]:
    """All that goes when these are dropped, and of it what is not theirs: (object, what it hangs on, description)."""
    gone: set[Address] = set()
    hanging: list[tuple[Address, Address, str]] = []
    fresh = set(start)
    while fresh:
        fresh |= _parts(connection, fresh)
        gone |= fresh
        outside = [each for each in _hanging(connection, fresh) if each[0] not in gone]
        hanging += outside
        fresh = {each[0] for each in outside}
    return gone, hanging


def _parts(connection: psycopg.Connection, start: set[Address]) -> set[Address]:
    found: set[Address] = set()
    frontier = set(start)
    while frontier:
        rows = connection.execute(_PARTS, _columns(frontier)).fetchall()
        frontier = {(classid, objid) for classid, objid in rows} - found - start
        found |= frontier
    return found


def _hanging(connection: psycopg.Connection, start: set[Address]) -> list[tuple[Address, Address, str]]:
    """What hangs on these by a normal dependency; a view's rule stands for its view."""
    rows = connection.execute(_HANGING, _columns(start)).fetchall()
    return [
        ((whole_class, whole), (refclass, reference), described)
        for _, _, refclass, reference, whole_class, whole, described in rows
    ]


def _partitions(connection: psycopg.Connection, relations: Collection[int]) -> set[str]:
    """Partitions made after the backup: their rows would go with the partitioned table."""
    return {row[0] for row in connection.execute(_PARTITIONS, [list(relations), list(relations)]).fetchall()}


def _columns(addresses: Iterable[Address]) -> list[list[int]]:
    listed = list(addresses)
    return [[classid for classid, _ in listed], [objid for _, objid in listed]]


def _kept(staying: list[Item], there: list[Item]) -> list[str]:
    """What stays as it is: whole schemas by their name, in others each object."""
    touched = {each.key[1] for each in there if each.key[1]}
    kept = [each for each in staying if each not in there and (each.key[1] in touched if each.key[1] else True)]
    return names(each for each in kept if each.kind != "SCHEMA" or each.key[2] not in touched)
