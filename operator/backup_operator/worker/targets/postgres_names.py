"""Room `worker.targets`: names of databases that a restore makes; called by `targets.postgres_*`."""

NAME_LIMIT_BYTES = 63
"""PostgreSQL cuts longer names. Source: https://www.postgresql.org/docs/current/limits.html"""


def with_suffix(name: str, suffix: str) -> str:
    """The name with the suffix, the name cut so that both fit into PostgreSQL's 63 bytes."""
    room = NAME_LIMIT_BYTES - len(suffix.encode())
    return name.encode()[:room].decode(errors="ignore") + suffix


def drop_command(database: str) -> str:
    """What a person types in psql to drop it."""
    quoted = database.replace('"', '""')
    return f'DROP DATABASE "{quoted}";'
