"""Room `worker.sources`: how restores into a Redis server are seen there; called by redis, and by worker.targets.

A restore names its connection. Who may not use CLIENT LIST is not held up by what it would tell.
Source: https://redis.io/docs/latest/commands/client-list/
"""

from typing import Final

from backup_operator.vocabulary.reasons import Reason
from backup_operator.worker.errors import SourceError
from backup_operator.worker.sources.redis_door import RedisDoor
from backup_operator.worker.sources.redis_faults import told_apart
from backup_operator.worker.sources.redis_wire import ErrorReply, RedisWire

CONNECTION_NAME: Final = "backup-operator-restore"


def restores_in(client_list: str, *, but: int | None = None) -> list[str]:
    """The addresses of the restores in a reply to CLIENT LIST, without the connection that has this number."""
    clients = [dict(word.partition("=")[::2] for word in line.split()) for line in client_list.splitlines()]
    return [
        each.get("addr", "?")
        for each in clients
        if each.get("name") == CONNECTION_NAME and each.get("id") != (None if but is None else str(but))
    ]


def require_no_restore(door: RedisDoor, wire: RedisWire) -> None:
    """Raises: SourceError RestoreRunning while one writes: a backup would hold a mixture."""
    with told_apart(door.url, door.secret, "CLIENT LIST"):
        try:
            listed = wire.command("CLIENT", "LIST").decode(errors="replace")
        except ErrorReply:
            return
    if addresses := restores_in(listed):
        raise SourceError(
            Reason.RESTORE_RUNNING,
            f"a restore into {door.url.place} is running; a backup of it now would hold a mixture",
            detail=f"It comes from {addresses[0]}.",
            hint="Nothing is to be done: the next run makes the backup. Look at restores with: kubectl get rr -A",
        )
