"""Room `worker.targets`: judges what a Redis target says of itself against a backup; called by redis. Pure.

Obstacles are found here twice: for the plan, and again by `apply` right before it begins to write.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from backup_operator.contract.restore import RedisTargetOrder
from backup_operator.vocabulary.choices import ExistingKeys, RedisStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from backup_operator.worker.sources.redis_preflight import keys_by_database, server_facts
from backup_operator.worker.sources.redis_url import RedisUrl
from backup_operator.worker.targets.redis_backup import Backup
from backup_operator.worker.targets.redis_probe import Probed
from backup_operator.worker.targets.redis_throwaway import UNTOUCHED

_MIB: Final = 1 << 20
_THROWAWAY_OVERHEAD_BYTES: Final = 96 * _MIB
"""What worker and an empty redis-server take beside the data."""
_LOADED_BYTES_PER_SECOND: Final = 40 * _MIB
_KEYS_PER_SECOND: Final = 150_000
_MERGED_KEYS_PER_SECOND: Final = 50_000
_NEWER_COMMANDS: Final = {"FUNCTION": "7.0", "HPEXPIREAT": "7.4", "VADD": "8.0"}
"""Commands that a backup may need and an older server does not know, with the version that brought them."""
_NEEDED_EVERYWHERE: Final = ("SET", "EXISTS", "RPUSH", "SADD", "ZADD", "HMSET", "PEXPIREAT", "SELECT")
_NEEDED_BY_STRATEGY: Final[dict[RedisStrategy, tuple[str, ...]]] = {
    RedisStrategy.FAIL_IF_NOT_EMPTY: (),
    RedisStrategy.MERGE: ("UNLINK", "WATCH"),
    RedisStrategy.REPLACE: ("FLUSHDB",),
}


@dataclass(frozen=True)
class Obstacle:
    """Why the restore cannot be done as things are."""

    reason: Reason
    words: str
    hint: str = ""

    def error(self) -> TargetError:
        """The obstacle, met after the plan was made."""
        return TargetError(self.reason, self.words, detail=UNTOUCHED, hint=self.hint)


@dataclass(frozen=True)
class Surveyed:
    """What the target says."""

    url: RedisUrl
    info: Mapping[str, str]
    probed: Probed
    libraries: tuple[str, ...] = ()
    """Names of its function libraries."""
    missing_databases: tuple[int, ...] = ()
    """Numbers that the backup needs and the server does not have."""

    @property
    def keys(self) -> dict[int, int]:
        """Keys by database, of those that the URL lets in."""
        found = keys_by_database(self.info)
        return {number: keys for number, keys in found.items() if self.url.database in (None, number)}

    def room_bytes(self, *, emptied: bool) -> int | None:
        """What fits below its maxmemory; None without a limit."""
        limit = int(self.info.get("maxmemory", "0"))
        if not limit:
            return None
        used = int(self.info.get("used_memory", "0"))
        startup = int(self.info.get("used_memory_startup", "0"))
        return max(0, limit - (startup if emptied else used))


def obstacles_of(
    surveyed: Surveyed, order: RedisTargetOrder, backup: Backup, limit_bytes: int | None
) -> list[Obstacle]:
    """Everything that is in the way, the gravest first."""
    found = [
        _of_mode(surveyed),
        _of_role(surveyed),
        _of_content(surveyed, order),
        *_of_permissions(surveyed, order),
        _of_database(surveyed, backup),
        of_pod_memory(backup, limit_bytes),
        _of_target_memory(surveyed, order, backup),
    ]
    return [obstacle for obstacle in found if obstacle is not None]


def is_older_than_7(info: Mapping[str, str]) -> bool:
    """Whether the server's stream commands lack what Redis 7.0 added to them."""
    return int(info.get("redis_version", "0").split(".")[0]) < 7


def cli(url: RedisUrl) -> str:
    """redis-cli with what leads to this server and database, to be completed by a command."""
    tls = " --tls" if url.uses_tls else ""
    user = f" --user {url.username}" if url.username else ""
    number = "" if url.database is None else f" -n {url.database}"
    return f"redis-cli -h {url.host} -p {url.port}{tls}{user}{number}"


def overwritten(url: RedisUrl, strategy: RedisStrategy) -> str:
    """What `confirm` must say: `<host>/<N>`, `<host>/all` where the URL has no number; empty: nothing can be lost."""
    if strategy is RedisStrategy.FAIL_IF_NOT_EMPTY:
        return ""
    return f"{url.host}/{'all' if url.database is None else url.database}"


def described(keys: Mapping[int, int]) -> str:
    """`1,200 keys in database 0 and 3 in database 9`."""
    if not keys:
        return "no keys"
    first, *others = [f"{count:,} in database {number}" for number, count in sorted(keys.items())]
    words = [first.replace(" in", " key in" if first.startswith("1 ") else " keys in", 1), *others]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def plan_lines(surveyed: Surveyed, order: RedisTargetOrder, backup: Backup, limit_bytes: int | None) -> tuple[str, ...]:
    """The plan in sentences, in the order in which things happen."""
    return tuple(
        line
        for line in (
            _backup_line(backup),
            _target_line(surveyed),
            _memory_line(backup, limit_bytes),
            _selection_line(surveyed.url, order, backup),
            _strategy_line(surveyed, order),
            _function_line(surveyed.url, order),
            _write_line(surveyed.url, order, backup),
            "A network restore of Redis is not atomic: while it runs, readers see a part of the keys. "
            "Stop the applications that write to this server first.",
        )
        if line
    )


def _of_mode(surveyed: Surveyed) -> Obstacle | None:
    mode = surveyed.info.get("redis_mode", "standalone")
    place = surveyed.url.place
    if mode == "sentinel":
        return Obstacle(
            Reason.CLUSTER_MODE_UNSUPPORTED,
            f"{place} is a Sentinel, which holds no data",
            f"{cli(surveyed.url)} SENTINEL masters",
        )
    if mode == "cluster" or surveyed.info.get("cluster_enabled") == "1":
        return Obstacle(
            Reason.CLUSTER_MODE_UNSUPPORTED,
            f"{place} is a node of a Redis Cluster, which takes the keys of its own slots only",
            "Restores into a Redis Cluster are not built; name a server with cluster-enabled no.",
        )
    if surveyed.info.get("loading", "0") != "0":
        return Obstacle(
            Reason.SERVER_LOADING, f"{place} is still loading its data set", f"{cli(surveyed.url)} INFO persistence"
        )
    return None


def _of_role(surveyed: Surveyed) -> Obstacle | None:
    if surveyed.info.get("role") not in ("slave", "replica"):
        return None
    master = f"{surveyed.info.get('master_host', '?')}:{surveyed.info.get('master_port', '?')}"
    return Obstacle(
        Reason.TARGET_UNSUITABLE,
        f"{surveyed.url.place} is a replica of {master}: what is written to it is refused, or lost with the next sync",
        "Name the master in the target's URL.",
    )


def _of_content(surveyed: Surveyed, order: RedisTargetOrder) -> Obstacle | None:
    if order.strategy is not RedisStrategy.FAIL_IF_NOT_EMPTY or not surveyed.keys:
        return None
    flush = "FLUSHALL" if surveyed.url.database is None else "FLUSHDB"
    return Obstacle(
        Reason.TARGET_NOT_EMPTY,
        f"{surveyed.url.place} is not empty: it holds {described(surveyed.keys)}",
        f"Ask for strategy Merge or Replace, or empty it: {cli(surveyed.url)} {flush}",
    )


def _of_permissions(surveyed: Surveyed, order: RedisTargetOrder) -> list[Obstacle]:
    probed, url = surveyed.probed, surveyed.url
    user = url.username or "default"
    found = [Obstacle(Reason.TARGET_UNSUITABLE, f"{url.place} takes no writes: {said}") for said in probed.refusals]
    if needed_permissions := _needed(probed.forbidden, url):
        found.append(of_forbidden(surveyed, needed_permissions))
    if probed.forbids_keys:
        keys = "~*" if not order.key_pattern else f"~{order.key_pattern}"
        words = f"the user {user} may not write every key that a restore can hold at {url.place}"
        hint = f"redis-cli ACL SETUSER {user} '{keys}', or name the keys it may write in keyPattern"
        found.append(Obstacle(Reason.PERMISSION_DENIED, words, hint))
    needed = (*_NEEDED_EVERYWHERE, *_NEEDED_BY_STRATEGY[order.strategy])
    if missing := [name for name in probed.unknown if name in needed]:
        words = f"{url.place} does not offer commands that a restore needs: {', '.join(missing)}"
        found.append(Obstacle(Reason.TARGET_UNSUITABLE, words, "Look for rename-command in its redis.conf."))
    if not probed.transactions and order.strategy is RedisStrategy.MERGE:
        words = f"{url.place} refuses MULTI, with which a Merge decides key by key"
        found.append(Obstacle(Reason.TARGET_UNSUITABLE, words, f"redis-cli ACL SETUSER {user} +multi +exec +discard"))
    return found


def of_forbidden(surveyed: Surveyed, permissions: Sequence[str]) -> Obstacle:
    """The obstacle that the user lacks these permissions."""
    user, what = surveyed.url.username or "default", " ".join(dict.fromkeys(permissions))
    words = f"the user {user} lacks permissions at {surveyed.url.place} that a restore needs: {what}"
    return Obstacle(Reason.PERMISSION_DENIED, words, f"redis-cli ACL SETUSER {user} {what}")


def of_unknown(surveyed: Surveyed, name: str) -> Obstacle:
    """The obstacle that the server does not have a command that the backup needs."""
    since = f", which Redis has from {_NEWER_COMMANDS[name]} on" if name in _NEWER_COMMANDS else ""
    words = f"the backup needs {name}{since}, and {surveyed.url.place} does not know it"
    return Obstacle(Reason.TARGET_UNSUITABLE, words, "Restore into a newer server.")


def _needed(forbidden: Sequence[str], url: RedisUrl) -> list[str]:
    """Without the flush that this URL does not use, and what few backups need: `apply` looks whether this one does."""
    unused = "+flushall" if url.database is not None else "+flushdb"
    rare = [f"+{name.lower()}" for name in _NEWER_COMMANDS]
    return [permission for permission in forbidden if permission not in (unused, *rare)]


def _of_database(surveyed: Surveyed, backup: Backup) -> Obstacle | None:
    url, counted = surveyed.url, backup.artifact.keys_per_database
    if surveyed.missing_databases:
        return Obstacle(
            Reason.DATABASE_MISSING,
            f"{url.place} has no database {surveyed.missing_databases[0]}, and the backup needs it",
            f"{cli(url)} CONFIG GET databases",
        )
    if url.database is None or not counted or backup.keys(url):
        return None
    return Obstacle(
        Reason.TARGET_UNSUITABLE,
        f"the backup holds no keys in database {url.database}, to which the URL's /{url.database} limits the restore",
        f"It holds {described(counted)}: write that number into the target's URL, or none for all databases.",
    )


def of_pod_memory(backup: Backup, limit_bytes: int | None) -> Obstacle | None:
    """The obstacle that the throw-away server would not fit into the pod."""
    if limit_bytes is None or backup.memory_bytes is None:
        return None
    needed = backup.memory_bytes + _THROWAWAY_OVERHEAD_BYTES
    if needed <= limit_bytes:
        return None
    return Obstacle(
        Reason.TARGET_UNSUITABLE,
        f"loading the backup takes about {_mib(needed)} of memory, and the pod has {_mib(limit_bytes)}",
        f"Give the restore's pod a memory limit of at least {_mib(needed)}.",
    )


def _of_target_memory(surveyed: Surveyed, order: RedisTargetOrder, backup: Backup) -> Obstacle | None:
    if backup.memory_bytes is None or order.key_pattern or surveyed.url.database is not None:
        return None
    # a quarter is allowed for what the source's figure holds beside its data; `apply` knows the data and is exact
    return full_target(surveyed, order, backup.memory_bytes * 3 // 4)


def full_target(surveyed: Surveyed, order: RedisTargetOrder, data_bytes: int) -> Obstacle | None:
    """The obstacle that this much data does not fit below the target's maxmemory."""
    room = surveyed.room_bytes(emptied=order.strategy is RedisStrategy.REPLACE and surveyed.url.database is None)
    if room is None or data_bytes <= room or order.strategy is RedisStrategy.MERGE:
        return None
    policy = surveyed.info.get("maxmemory_policy", "noeviction")
    then = "it would refuse the rest" if policy == "noeviction" else f"it would drop keys ({policy})"
    return Obstacle(
        Reason.TARGET_UNSUITABLE,
        f"the data takes about {_mib(data_bytes)}, and {surveyed.url.place} has room for {_mib(room)}: {then}",
        f"{cli(surveyed.url)} CONFIG SET maxmemory BYTES",
    )


def _backup_line(backup: Backup) -> str:
    artifact = backup.artifact
    version = artifact.server.get("version")
    made = f" of {artifact.server.get('product', 'Redis')} {version}" if version else ""
    backup_is = f"The backup is {artifact.name}, {_mib(artifact.plain_bytes)}{made}"
    if artifact.keys_per_database is None:
        return f"{backup_is}; no entry says what keys it holds."
    return f"{backup_is}: {described(artifact.keys_per_database)}."


def _target_line(surveyed: Surveyed) -> str:
    facts, url = server_facts(surveyed.info, surveyed.url), surveyed.url
    tls = "without TLS" if not url.uses_tls else "over TLS"
    if url.uses_tls and not url.checks_certificate:
        tls = "over TLS, whose certificate is not checked"
    where, holds = "it", described(surveyed.keys)
    if url.database is not None:
        where, holds = f"database {url.database} of it", holds.removesuffix(f" in database {url.database}")
    return f"The target is {facts['product']} {facts['version']} at {url.place}, {tls}; {where} holds {holds}."


def _memory_line(backup: Backup, limit_bytes: int | None) -> str:
    needs = ""
    if backup.memory_bytes is not None:
        limit = "" if limit_bytes is None else f" of the {_mib(limit_bytes)} that the pod may use"
        needs = f", which takes about {_mib(backup.memory_bytes + _THROWAWAY_OVERHEAD_BYTES)}{limit}"
    return f"The backup is loaded into a throw-away redis-server in the pod{needs}, and its keys are counted there."


def _selection_line(url: RedisUrl, order: RedisTargetOrder, backup: Backup) -> str:
    words = []
    if backup.moves_to(url):
        words.append(
            f"The backup is of database {backup.database} alone, and the URL says /{url.database}: "
            f"its keys go to database {url.database}."
        )
    elif url.database is not None:
        words.append(f"The URL says /{url.database}: only that database's keys are restored, and no other is touched.")
    if order.key_pattern:
        words.append(f"Only keys that match {order.key_pattern} are restored.")
    return " ".join(words)


def _strategy_line(surveyed: Surveyed, order: RedisTargetOrder) -> str:
    where = "every database" if surveyed.url.database is None else f"database {surveyed.url.database}"
    if order.strategy is RedisStrategy.FAIL_IF_NOT_EMPTY:
        return f"FailIfNotEmpty: nothing is overwritten; the restore begins only while {where} is empty."
    if order.strategy is RedisStrategy.REPLACE:
        what = f"the keys of {where} that match {order.key_pattern}" if order.key_pattern else f"{where}"
        return f"Replace: {what} is emptied first ({described(surveyed.keys)} there now), then the backup is written."
    if order.existing is ExistingKeys.KEEP:
        return (
            "Merge, existing keys are kept: a key that is there when its turn comes is left as it is, "
            "also when an application made it a moment before (WATCH)."
        )
    return (
        "Merge, existing keys are replaced: each key of the backup takes the place of the target's, whole, in one "
        "transaction (a key of more than 16 MiB: its beginning); other keys stay as they are."
    )


def _function_line(url: RedisUrl, order: RedisTargetOrder) -> str:
    if url.database is not None or order.key_pattern:
        return "Function libraries belong to no database and to no key: they are left alone."
    if order.strategy is RedisStrategy.REPLACE:
        return "Function libraries of the target are dropped, and those of the backup loaded."
    if order.strategy is RedisStrategy.MERGE and order.existing is ExistingKeys.REPLACE:
        return "Function libraries of the backup are loaded, and replace those of the same name."
    return "Function libraries of the backup are loaded, where the target has none of that name."


def _write_line(url: RedisUrl, order: RedisTargetOrder, backup: Backup) -> str:
    counted = backup.keys(url)
    if counted is None:
        return "Then its keys are written as plain commands, and counted in the target."
    speed = _MERGED_KEYS_PER_SECOND if order.strategy is RedisStrategy.MERGE else _KEYS_PER_SECOND
    keys = sum(counted.values())
    seconds = 1 + round(keys / speed + backup.artifact.plain_bytes / _LOADED_BYTES_PER_SECOND)
    return f"Then {keys:,} keys are written as plain commands and counted; all of it takes about {seconds} s."


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / _MIB:,.1f} MiB"
