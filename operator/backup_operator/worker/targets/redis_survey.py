"""Room `worker.targets`: judges what a Redis target says of itself against a backup; called by redis. Pure.

Obstacles are found here twice: for the plan, and again by `apply` right before it begins to write.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from backup_operator.contract.restore import RedisTargetOrder
from backup_operator.vocabulary.choices import RedisStrategy
from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import TargetError
from backup_operator.worker.sources.redis_preflight import keys_by_database
from backup_operator.worker.sources.redis_url import RedisUrl
from backup_operator.worker.targets.redis_backup import Backup, Loaded
from backup_operator.worker.targets.redis_probe import Probed
from backup_operator.worker.targets.redis_throwaway import UNTOUCHED
from backup_operator.worker.words import numbered

_MIB: Final = 1 << 20
THROWAWAY_OVERHEAD_BYTES: Final = 96 * _MIB
"""What worker and an empty redis-server take beside the data."""
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
    libraries: Mapping[str, bytes] | None = None
    """Code of its function libraries by name; None where it does not list them."""
    missing_databases: tuple[int, ...] = ()
    """Numbers that the backup needs and the server does not have."""

    @property
    def keys(self) -> dict[int, int]:
        """Keys by database, of those that the URL lets in."""
        found = keys_by_database(self.info)
        return {number: keys for number, keys in found.items() if self.url.database in (None, number)}

    @property
    def limit_bytes(self) -> int | None:
        """Its maxmemory; None without one."""
        return int(self.info.get("maxmemory", "0")) or None

    @property
    def evicts(self) -> str:
        """The policy by which it drops keys when it is full; empty where it refuses writes instead."""
        policy = self.info.get("maxmemory_policy", "noeviction")
        return "" if policy == "noeviction" else policy

    def room_bytes(self, order: RedisTargetOrder) -> int | None:
        """What fits below its maxmemory once it is cleared, at most; None without a limit."""
        if self.limit_bytes is None:
            return None
        cleared = order.strategy is RedisStrategy.REPLACE
        kept = self.info.get("used_memory_startup", "0") if cleared else self.info.get("used_memory", "0")
        return max(0, self.limit_bytes - int(kept))


def obstacles_of(surveyed: Surveyed, order: RedisTargetOrder, backup: Backup, loaded: Loaded | None) -> list[Obstacle]:
    """Everything that is in the way, the gravest first; with `loaded`, by what is known exactly."""
    found = [
        of_mode(surveyed),
        _of_role(surveyed),
        _of_content(surveyed, order),
        *_of_permissions(surveyed, order),
        _of_database(surveyed, backup),
        _of_target_memory(surveyed, order, backup, loaded),
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
    password = " --askpass" if url.password else ""
    return f"redis-cli -h {url.host} -p {url.port}{tls}{user}{password}{number}"


def overwritten(url: RedisUrl, strategy: RedisStrategy) -> str:
    """What `confirm` must say; empty: nothing can be lost."""
    return "" if strategy is RedisStrategy.FAIL_IF_NOT_EMPTY else called(url)


def called(url: RedisUrl) -> str:
    """`<host>/<N>`, `<host>/all` where the URL has no number."""
    return f"{url.host}/{'all' if url.database is None else url.database}"


def described(keys: Mapping[int, int]) -> str:
    """`3 keys in database 9`, `1,203 keys (1,200 in database 0, 3 in database 9)`."""
    if not keys:
        return "no keys"
    total = numbered(sum(keys.values()), "key")
    if len(keys) == 1:
        return f"{total} in database {next(iter(keys))}"
    return f"{total} ({', '.join(f'{count:,} in database {number}' for number, count in sorted(keys.items()))})"


def of_mode(surveyed: Surveyed) -> Obstacle | None:
    """The obstacle that it is no server with data of its own, or that it has not loaded them yet."""
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
    cleared = order.strategy is RedisStrategy.REPLACE
    refusals = [said for said in probed.refusals if not (cleared and said.startswith("OOM"))]
    found = [Obstacle(Reason.TARGET_UNSUITABLE, f"{url.place} takes no writes: {said}") for said in refusals]
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
    without = ' A keyPattern of "*" restores the keys alone.' if name == "FUNCTION" else ""
    return Obstacle(Reason.TARGET_UNSUITABLE, words, f"Restore into a newer server.{without}")


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
    return not_in_the_backup(url.database, counted)


def not_in_the_backup(database: int, held: Mapping[int, int]) -> Obstacle:
    """The obstacle that the URL's database is not one of those that the backup holds."""
    return Obstacle(
        Reason.TARGET_UNSUITABLE,
        f"the backup holds no keys in database {database}, to which the URL's /{database} limits the restore",
        f"It holds {described(held)}: write that number into the target's URL, or none for all databases.",
    )


def of_pod_memory(backup: Backup, limit_bytes: int | None) -> Obstacle | None:
    """The obstacle that the throw-away server would not fit into the pod."""
    if limit_bytes is None or backup.memory_bytes is None:
        return None
    needed = backup.memory_bytes + THROWAWAY_OVERHEAD_BYTES
    if needed <= limit_bytes:
        return None
    return Obstacle(
        Reason.TARGET_UNSUITABLE,
        f"loading the backup takes about {size(needed)} of memory, and the pod has {size(limit_bytes)}",
        f"Give the restore's pod a memory limit of at least {size(needed)}.",
    )


def _of_target_memory(
    surveyed: Surveyed, order: RedisTargetOrder, backup: Backup, loaded: Loaded | None
) -> Obstacle | None:
    """The obstacle that the data does not fit below the target's maxmemory."""
    if loaded is not None:
        data_bytes = loaded.data_bytes
    elif backup.memory_bytes is None or order.key_pattern or surveyed.url.database is not None:
        return None
    else:
        # a quarter is allowed for what the source's figure holds beside its data
        data_bytes = backup.memory_bytes * 3 // 4
    room = surveyed.room_bytes(order)
    if room is None or data_bytes <= room or order.strategy is RedisStrategy.MERGE:
        return None
    then = f"it would drop keys ({surveyed.evicts})" if surveyed.evicts else "it would refuse the rest"
    return Obstacle(
        Reason.TARGET_UNSUITABLE,
        f"the data takes about {size(data_bytes)}, and {surveyed.url.place} has room for {size(room)}: {then}",
        f"{cli(surveyed.url)} CONFIG SET maxmemory BYTES",
    )


def size(size_bytes: int) -> str:
    """`37 bytes`, `1.5 KiB`, `1,023.9 MiB`, `2.0 GiB`."""
    for unit, name in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size_bytes >= 1 << unit:
            return f"{size_bytes / (1 << unit):,.1f} {name}"
    return numbered(size_bytes, "byte")
