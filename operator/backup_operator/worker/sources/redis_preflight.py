"""Room `worker.sources`: judges what a Redis server says of itself in INFO; called by redis. Pure."""

import re
from collections.abc import Mapping

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError
from backup_operator.worker.sources.redis_url import RedisUrl

_KEYSPACE = re.compile(r"keys=(\d+),expires=(\d+)")
_HEAD_BYTES = 64 * 1024
"""What an RDB of an empty server takes, rounded up generously."""


def keys_by_database(info: Mapping[str, str]) -> dict[int, int]:
    """Keys of every database that holds some."""
    found = {name: _KEYSPACE.match(value) for name, value in info.items() if re.fullmatch(r"db\d+", name)}
    return {int(name[2:]): int(counts[1]) for name, counts in found.items() if counts}


def require_dumpable(info: Mapping[str, str], url: RedisUrl) -> None:
    """Refuse a server that is loading, part of a cluster, or holds no data of its own. Raises: SourceError."""
    if info.get("loading", "0") != "0":
        raise SourceError(
            Reason.SERVER_LOADING,
            f"{url.place} is still loading its data set",
            detail=f"Loaded so far: {info.get('loading_loaded_perc', '?')} %.",
            hint=f"redis-cli -h {url.host} -p {url.port} INFO persistence",
        )
    mode = info.get("redis_mode", "standalone")
    if mode == "sentinel":
        raise SourceError(
            Reason.CLUSTER_MODE_UNSUPPORTED,
            f"{url.place} is a Sentinel, which holds no data",
            hint=f"redis-cli -h {url.host} -p {url.port} SENTINEL masters",
        )
    if mode == "cluster" or info.get("cluster_enabled", "0") == "1":
        raise SourceError(
            Reason.CLUSTER_MODE_UNSUPPORTED,
            f"{url.place} is a node of a Redis Cluster: its RDB would hold its own slots only",
            hint="Backups of a Redis Cluster are not built; back up a server with cluster-enabled no.",
        )
    if info.get("role") == "slave" and info.get("master_link_status") == "down":
        raise SourceError(
            Reason.SERVER_NOT_READY,
            f"{url.place} is a replica without a link to its master",
            hint=f"redis-cli -h {url.host} -p {url.port} INFO replication",
        )


def warnings_of(info: Mapping[str, str], url: RedisUrl) -> tuple[str, ...]:
    """What a person should know though the run goes on."""
    keys = keys_by_database(info)
    warnings = []
    if not keys:
        warnings.append(f"{url.place} holds no keys at all; the backup will be empty.")
    elif url.database is not None and url.database not in keys:
        warnings.append(f"Database {url.database} of {url.place} holds no keys; others do: {sorted(keys)}.")
    if info.get("role") == "slave":
        warnings.append(f"{url.place} is a replica: the backup is as old as its replication.")
    if info.get("rdb_last_bgsave_status") == "err":
        warnings.append(f"{url.place} says that its own last snapshot failed (rdb_last_bgsave_status:err).")
    if url.uses_tls and not url.checks_certificate:
        warnings.append("The server's certificate is not checked: the URL says ssl_cert_reqs=none.")
    return tuple(warnings)


def estimated_bytes(info: Mapping[str, str]) -> int | None:
    """An upper guess of the RDB's size: what the server uses, for in memory everything is larger."""
    used = info.get("used_memory", "")
    return int(used) + _HEAD_BYTES if used.isdigit() else None


def server_facts(info: Mapping[str, str], url: RedisUrl) -> dict[str, object]:
    """What the entry records of the server."""
    is_valkey = "valkey_version" in info
    return {
        "product": "Valkey" if is_valkey else "Redis",
        "version": info["valkey_version"] if is_valkey else info.get("redis_version", "unknown"),
        "mode": info.get("redis_mode", "standalone"),
        "role": info.get("role", "unknown"),
        "database": "all" if url.database is None else url.database,
        "keysBefore": {str(database): keys for database, keys in keys_by_database(info).items()},
    }
