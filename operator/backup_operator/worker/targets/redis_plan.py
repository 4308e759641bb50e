"""Room `worker.targets`: the plan of a restore into Redis as a page for a tired person; called by redis. Pure.

The sentences stand in the order in which things happen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from backup_operator.contract.restore import RedisTargetOrder
from backup_operator.vocabulary.choices import ExistingKeys, RedisStrategy
from backup_operator.worker.sources.redis_preflight import server_facts
from backup_operator.worker.sources.redis_url import RedisUrl
from backup_operator.worker.targets.redis_backup import Backup, Loaded
from backup_operator.worker.targets.redis_survey import THROWAWAY_OVERHEAD_BYTES, Surveyed, described, size
from backup_operator.worker.words import numbered

_LOADED_BYTES_PER_SECOND: Final = 40 << 20
_WRITTEN_BYTES_PER_SECOND: Final = 100 << 20
_KEYS_PER_SECOND: Final = 150_000
_MERGED_KEYS_PER_SECOND: Final = 50_000


@dataclass(frozen=True)
class Planned:
    """All that a plan is made of."""

    surveyed: Surveyed
    order: RedisTargetOrder
    backup: Backup
    loaded: Loaded | None
    """None where the backup could not be loaded for the plan."""
    limit_bytes: int | None
    """What the pod may use of memory; None without a limit."""
    has_safety_backup: bool

    @property
    def url(self) -> RedisUrl:
        """The target's."""
        return self.surveyed.url

    @property
    def where(self) -> str:
        """What the URL lets in."""
        return "every database" if self.url.database is None else f"database {self.url.database}"


def plan_lines(planned: Planned) -> tuple[str, ...]:
    """The plan in sentences."""
    lines = (
        _backup_line(planned),
        _loaded_line(planned),
        _cut_line(planned),
        _target_line(planned),
        _room_line(planned),
        _selection_line(planned),
        _safety_line(planned),
        _strategy_line(planned),
        _function_line(planned),
        _write_line(planned),
        "A network restore of Redis is not atomic: while it runs, readers see a part of the keys. "
        "Stop the applications that use this server first.",
    )
    return tuple(line for line in lines if line)


def _backup_line(planned: Planned) -> str:
    artifact = planned.backup.artifact
    version = artifact.server.get("version")
    made = f" of {artifact.server.get('product', 'Redis')} {version}" if version else ""
    backup_is = f"The backup is {artifact.name}, {size(artifact.plain_bytes)}{made}"
    if artifact.keys_per_database is None:
        return f"{backup_is}; no entry says what keys it holds."
    return f"{backup_is}: {described(artifact.keys_per_database)}."


def _loaded_line(planned: Planned) -> str:
    memory, loaded = planned.backup.memory_bytes, planned.loaded
    takes = "" if memory is None else f", which takes about {size(memory + THROWAWAY_OVERHEAD_BYTES)} of memory"
    if takes and planned.limit_bytes is not None:
        takes += f" (the pod may use {size(planned.limit_bytes)})"
    if loaded is None:
        return f"It is loaded into a throw-away redis-server in the pod{takes}, and its keys are counted there."
    there = f"{described(loaded.keys)} {'is' if sum(loaded.keys.values()) == 1 else 'are'} there"
    if loaded.keys == planned.backup.artifact.keys_per_database:
        there = "all of its keys are there"
    expired = f"; {numbered(loaded.expired, 'key')} expired since it was made" if loaded.expired else ""
    return (
        f"Loaded into a throw-away redis-server in the pod{takes}: {there}{expired}. "
        f"That took {loaded.seconds:.1f} s for this plan."
    )


def _cut_line(planned: Planned) -> str:
    if planned.loaded is None or not planned.loaded.left_out_bytes:
        return ""
    return (
        f"The append-only file ends in the middle of a command: its last {planned.loaded.left_out_bytes:,} bytes are "
        "left out, and a transaction that they belong to, as by a Redis that starts with it. A file that was copied "
        "from a running server ends so, and one whose copy stopped too early as well: see that the number of keys is "
        "what you expect."
    )


def _target_line(planned: Planned) -> str:
    info, url = planned.surveyed.info, planned.url
    facts = server_facts(info, url)
    tls = "without TLS" if not url.uses_tls else "over TLS"
    if url.uses_tls and not url.checks_certificate:
        tls = "over TLS, whose certificate is not checked"
    where, holds = "it", described(planned.surveyed.keys)
    if url.database is not None:
        where, holds = f"database {url.database} of it", holds.removesuffix(f" in database {url.database}")
    line = f"The target is {facts['product']} {facts['version']} at {url.place}, {tls}; {where} holds {holds}."
    return " ".join([line, *_others(planned)])


def _others(planned: Planned) -> Iterator[str]:
    info = planned.surveyed.info
    clients = int(info.get("connected_clients", "1")) - 1
    if clients > 0:
        yield f"{numbered(clients, 'other client')} {'is' if clients == 1 else 'are'} connected to it now."
    replicas = int(info.get("connected_slaves", "0"))
    if replicas:
        yield f"{numbered(replicas, 'replica')} of it {'follows' if replicas == 1 else 'follow'} every change."


def _room_line(planned: Planned) -> str:
    surveyed, loaded = planned.surveyed, planned.loaded
    room = surveyed.room_bytes(planned.order)
    if room is None:
        return ""
    limit = f"its maxmemory is {size(surveyed.limit_bytes or 0)}"
    full = f"drops keys ({surveyed.evicts})" if surveyed.evicts else "refuses writes"
    takes = "The data" if loaded is None else f"The data takes about {size(loaded.data_bytes)} there, and"
    warning = "; dropped keys are counted afterwards" if surveyed.evicts else ""
    return f"{takes} has room for {size(room)} at most: {limit}, and a target that is full {full}{warning}."


def _selection_line(planned: Planned) -> str:
    url, backup, words = planned.url, planned.backup, []
    if backup.moves_to(url):
        words.append(
            f"The backup is of database {backup.database} alone, and the URL says /{url.database}: "
            f"its keys go to database {url.database}."
        )
    elif url.database is not None:
        words.append(f"The URL says /{url.database}: only that database's keys are restored, and no other is touched.")
    if planned.order.key_pattern:
        words.append(f"Only keys that match {planned.order.key_pattern} are restored.")
    return " ".join(words)


def _safety_line(planned: Planned) -> str:
    if planned.order.strategy is RedisStrategy.FAIL_IF_NOT_EMPTY or planned.has_safety_backup:
        return ""
    return "No safety backup is made: what the restore drops or overwrites cannot be brought back."


def _strategy_line(planned: Planned) -> str:
    order, where, keys = planned.order, planned.where, planned.surveyed.keys
    if order.strategy is RedisStrategy.FAIL_IF_NOT_EMPTY:
        return f"FailIfNotEmpty: nothing is overwritten; the restore begins only while {where} is empty."
    if order.strategy is RedisStrategy.REPLACE:
        what = f"{where} is emptied first, now {described(keys)}"
        if order.key_pattern:
            what = f"the keys of {where} that match {order.key_pattern} are dropped first"
        return f"Replace: {what}; then the backup is written."
    if order.existing is ExistingKeys.KEEP:
        return (
            "Merge, existing keys are kept: a key that is there when its turn comes is left as it is, "
            "also when an application made it a moment before."
        )
    return (
        "Merge, existing keys are replaced: each key of the backup takes the place of the target's, whole, in one "
        "transaction (a key of more than 16 MiB: its beginning); other keys stay as they are."
    )


def _function_line(planned: Planned) -> str:
    loaded, libraries = planned.loaded, planned.surveyed.libraries or {}
    of_backup = f" ({', '.join(loaded.libraries)})" if loaded and loaded.libraries else ""
    none = loaded is not None and not loaded.libraries
    if planned.url.database is not None or planned.order.key_pattern:
        return "Function libraries belong to no database and to no key: they are left alone."
    if planned.order.strategy is RedisStrategy.REPLACE:
        dropped = f"The target's function libraries ({', '.join(libraries)}) are dropped. " if libraries else ""
        return dropped + ("" if none else f"The function libraries of the backup{of_backup} are loaded.")
    if none:
        return ""
    if planned.order.strategy is RedisStrategy.MERGE and planned.order.existing is ExistingKeys.REPLACE:
        return f"Function libraries of the backup{of_backup} are loaded, and replace those of the same name."
    return f"Function libraries of the backup{of_backup} are loaded, where the target has none of that name."


def _write_line(planned: Planned) -> str:
    counted = planned.backup.keys(planned.url) if planned.loaded is None else planned.loaded.expected
    if counted is None:
        return "Then its keys are written as plain commands, and counted in the target."
    keys = sum(counted.values())
    return (
        f"Then {numbered(keys, 'key')} {'is' if keys == 1 else 'are'} written as plain commands and counted; "
        f"all of it takes about {_seconds(planned, keys)} s."
    )


def _seconds(planned: Planned, keys: int) -> int:
    speed = _MERGED_KEYS_PER_SECOND if planned.order.strategy is RedisStrategy.MERGE else _KEYS_PER_SECOND
    loading = planned.backup.artifact.plain_bytes / _LOADED_BYTES_PER_SECOND
    written_bytes = 0
    if planned.loaded is not None:
        loading, written_bytes = planned.loaded.seconds, planned.loaded.data_bytes
    return 1 + round(loading + keys / speed + written_bytes / _WRITTEN_BYTES_PER_SECOND)
