"""One table of policies, and what is said about them; models, operator and API server are held to the same rows.

Read by `test_cases.py` (models and admission) and by `tests/integration/api/test_cases.py` (CEL, on a real API server);
the RestoreRequests are in `restore_cases.py`.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

REMOVED = object()
"""As the value of an edit: the field is taken out."""


class Door(StrEnum):
    """Who says it: both, or the operator alone, where no pattern can tell."""

    BOTH = "Both"
    OPERATOR = "Operator"


@dataclass(frozen=True)
class Case:
    """A spec, the one before it where it is an edit, and words that the answer holds; no words: it is accepted."""

    id: str
    kind: str
    spec: Mapping[str, Any]
    words: tuple[str, ...] = ()
    old: Mapping[str, Any] | None = None
    door: Door = Door.BOTH


def edited(spec: Mapping[str, Any], edits: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with values at paths like `storage.path`; what is missing on the way is made."""
    result = copy.deepcopy(dict(spec))
    for path, value in edits.items():
        *parents, last = path.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is REMOVED:
            del place[last]
        else:
            place[last] = value
    return result


def secret(key: str) -> dict[str, str]:
    """A reference to a key of the Secret `app`."""
    return {"name": "app", "key": key}


POSTGRES = {
    "source": {"postgres": {"urlSecretRef": secret("SUPABASE_DB_URL")}},
    "schedule": "0 2 * * *",
    "encryption": {"passphraseSecretRef": secret("BACKUP_ENCRYPTION_KEY")},
    "storage": {"claimName": "backups"},
}
REDIS = {**POSTGRES, "source": {"redis": {"urlSecretRef": secret("REDIS_URL")}}}
WHOLE = edited(
    POSTGRES,
    {
        "source.postgres.format": "Custom",
        "source.postgres.globals": True,
        "source.postgres.schemas": {"include": ["public", "My Schema"]},
        "source.postgres.tables": {"exclude": ['"Users"'], "excludeData": ["public.log"]},
        "source.postgres.profile": "Supabase",
        "source.postgres.tls": {"mode": "VerifyFull", "caSecretRef": {"name": "db-ca", "key": "ca.crt"}},
        "timeZone": "Europe/Berlin",
        "suspend": True,
        "compression": {"algorithm": "Zstd", "level": 19},
        "storage.path": "prod/app-db",
        "storage.usageLimitPercent": 80,
        "retention": {"maxAge": "30d", "keepLast": 0, "keepDaily": 7, "keepWeekly": 4, "minimum": 3},
        "objectives": {"rpo": "25h"},
        "checks": [
            {"name": "users", "sql": "select count(*) from users", "minimum": 1},
            {"name": "app", "http": {"url": "http://app.prod/health"}},
            {"name": "newest row", "sql": "select max(at) from log", "newestWithin": "1h30m"},
        ],
        "job": {
            "deadline": "6h",
            "backoffLimit": 0,
            "resources": {"requests": {"cpu": 1, "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
            "imagePullSecrets": [{"name": "registry"}],
        },
    },
)


def _policy(sentence: str, edits: Mapping[str, Any], *words: str, base: Mapping[str, Any] = POSTGRES) -> Case:
    return Case(sentence, "BackupPolicy", edited(base, edits), words)


def _later(sentence: str, edits: Mapping[str, Any], *words: str) -> Case:
    """Told by the operator alone: the API server takes it."""
    return Case(sentence, "BackupPolicy", edited(POSTGRES, edits), words, door=Door.OPERATOR)


_SCHEDULE = ("spec.schedule", "expected five cron fields", "write for example")
_PATH = ("spec.storage.path", "expected a path below the root of the claim", "write for example prod/app-db")
_DURATION = ("expected a time span above zero", "write for example 30d")

POLICIES = (
    _policy("the shortest policy is accepted", {}),
    _policy("the shortest Redis policy is accepted", {}, base=REDIS),
    _policy("every field of this release at once is accepted", {}, base=WHOLE),
    _policy("no source at all is refused", {"source": {}}, "spec.source", "exactly one of postgres and redis"),
    _policy(
        "two sources are refused",
        {"source.redis": {"urlSecretRef": secret("REDIS_URL")}},
        "spec.source",
        "exactly one of postgres and redis is expected",
    ),
    _policy("a missing schedule is refused", {"schedule": REMOVED}, "spec.schedule"),
    _policy("a missing passphrase is refused", {"encryption": {}}, "spec.encryption.passphraseSecretRef"),
    _policy("a Secret without a key is refused", {"encryption.passphraseSecretRef": {"name": "app"}}, "Ref.key"),
    _policy(
        "a Secret's key with a space is refused",
        {"encryption.passphraseSecretRef.key": "MY KEY"},
        "spec.encryption.passphraseSecretRef.key",
        'found "MY KEY"; expected a key in a Secret',
    ),
    _policy(
        "a Secret's name with capitals is refused",
        {"encryption.passphraseSecretRef.name": "App"},
        'found "App"; expected the name of an object',
    ),
    _policy(
        "a name with a newline at its end is refused", {"storage.claimName": "backups\n"}, "spec.storage.claimName"
    ),
    _policy(
        "passphrases of before a rotation are accepted", {"encryption.previousPassphraseSecretRefs": [secret("OLD")]}
    ),
    _policy(
        "eleven older passphrases are refused",
        {"encryption.previousPassphraseSecretRefs": [secret("OLD")] * 11},
        "spec.encryption.previousPassphraseSecretRefs",
    ),
    # schedule
    *(
        _policy(f"the schedule {text} is accepted", {"schedule": text})
        for text in (
            "*/15 * * * *",
            "0 2 * * MON-FRI",
            "5-50/5,7 ? 1,15 jan *",
            "@hourly",
            "@daily",
            "@weekly",
            "@monthly",
            "@yearly",
            "@annually",
            "@midnight",
            "@every 1h",
            "@every 1h30m",
        )
    ),
    *(
        _policy(f"the schedule {text!r} is refused", {"schedule": text}, *_SCHEDULE)
        for text in (
            "0 2 * *",
            "0 0 2 * * *",
            "60 2 * * *",
            "0 24 * * *",
            "0 2 0 * *",
            "0 2 * 13 *",
            "0 2 * * 7",
            "*/0 * * * *",
            "TZ=UTC 0 2 * * *",
            "CRON_TZ=Europe/Berlin 0 2 * * *",
            "@every 0s",
            "@every -1h",
            "@every",
            "@reboot",
            "daily",
            "",
            "0 2 * * *\n",
        )
    ),
    _later(
        "a range that runs backwards is refused by the operator",
        {"schedule": "0 2 * * FRI-MON"},
        "spec.schedule",
        'found "FRI-MON"',
    ),
    _later("a day that never comes is refused by the operator", {"schedule": "0 0 31 2 *"}, "which never comes"),
    _policy("a zone of the IANA database is accepted", {"timeZone": "America/Argentina/Buenos_Aires"}),
    *(
        _policy(f"the zone {text!r} is refused", {"timeZone": text}, "spec.timeZone", "IANA time zone database")
        for text in ("", "Local", "local", "../etc/passwd", "Europe/Berlin\n", "+02:00")
    ),
    _later("a zone that nobody has is refused by the operator", {"timeZone": "Europe/Atlantis"}, "spec.timeZone"),
    # spans
    *(
        _policy(f"the span {text} is accepted", {"objectives.rpo": text})
        for text in ("25h", "15m", "1h30m", "30d", "2w", "90s", "1d12h")
    ),
    *(
        _policy(f"the span {text!r} is refused", {"objectives.rpo": text}, "spec.objectives.rpo", *_DURATION)
        for text in ("", "0h", "25", "1.5h", "-1h", "30m1h", "1y", "1 h", "25h\n")
    ),
    _policy("a span that is a number is refused", {"objectives.rpo": 25}, "spec.objectives.rpo"),
    _policy("a deadline of half a minute is refused", {"job.deadline": "30s"}, "spec.job", "shorter than a minute"),
    _policy("a deadline of a minute is accepted", {"job.deadline": "60s"}),
    # storage
    *(
        _policy(f"the path {path!r} is accepted", {"storage.path": path})
        for path in ("", "prod/app-db", "a", "a..b/_c")
    ),
    *(
        _policy(f"the path {path!r} is refused", {"storage.path": path}, *_PATH)
        for path in ("/backups", "../other", "a/../b", "a//b", "a/", ".", "..", ".hidden", "a b", "a/./b", "a\n")
    ),
    _policy(
        "a claim and a template at once are refused",
        {"storage.claimTemplate": {"size": "20Gi"}},
        "spec.storage",
        "exactly one of claimName and claimTemplate is expected",
    ),
    _policy("neither claim nor template is refused", {"storage": {}}, "spec.storage", "exactly one of claimName and"),
    _policy("a limit of 101 percent is refused", {"storage.usageLimitPercent": 101}, "spec.storage.usageLimitPercent"),
    _policy(
        "a size that is no amount is refused",
        {"storage": {"claimTemplate": {"size": "much"}}},
        "spec.storage.claimTemplate.size",
        'found "much"',
    ),
    # compression
    _policy("Gzip at level 9 is accepted", {"compression": {"level": 9}}),
    _policy("Gzip at level 10 is refused", {"compression": {"level": 10}}, "spec.compression", "1 to 9 with Gzip"),
    _policy("Zstd at level 19 is accepted", {"compression": {"algorithm": "Zstd", "level": 19}}),
    _policy("level 20 is refused", {"compression": {"algorithm": "Zstd", "level": 20}}, "spec.compression.level"),
    _policy("level 0 is refused", {"compression": {"level": 0}}, "spec.compression.level"),
    _policy("an amount as a number is accepted", {"job.resources": {"limits": {"cpu": 2}}}),
    _policy("an amount with a fraction is accepted", {"job.resources": {"limits": {"cpu": "1.5", "memory": "1e9"}}}),
    _policy("an amount that is none is refused", {"job.resources": {"limits": {"memory": "lots"}}}, 'found "lots"'),
    _policy("an amount with a space is refused", {"job.resources": {"requests": {"memory": "1 Gi"}}}, "512Mi"),
    _policy("a Secret's key of dots is refused", {"encryption.passphraseSecretRef.key": ".."}, 'found ".."'),
    _policy("a Secret's key of a hidden file is accepted", {"encryption.passphraseSecretRef.key": ".key"}),
    _policy("no compression is accepted", {"compression": {"algorithm": "None"}}),
    _policy("no compression with a level is refused", {"compression": {"algorithm": "None", "level": 1}}, "left out"),
    _policy("an unknown algorithm is refused", {"compression.algorithm": "Brotli"}, "spec.compression.algorithm"),
    # filters and TLS
    _policy(
        "a schema that is included and excluded is refused",
        {"source.postgres.schemas": {"include": ["a", "b"], "exclude": ["b"]}},
        "spec.source.postgres.schemas",
        "a schema is in both include and exclude",
    ),
    _policy("an empty schema name is refused", {"source.postgres.schemas": {"include": [""]}}, "schemas.include[0]"),
    _policy("101 names are refused", {"source.postgres.tables": {"exclude": ["t"] * 101}}, "postgres.tables.exclude"),
    _policy("an unknown format is refused", {"source.postgres.format": "Directory"}, "spec.source.postgres.format"),
    _policy(
        "a CA with mode Require is refused",
        {"source.postgres.tls": {"mode": "Require", "caSecretRef": secret("ca.crt")}},
        "spec.source.postgres.tls",
        "caSecretRef is used by mode VerifyCA and VerifyFull only",
    ),
    _policy("a CA without a mode is accepted", {"source.postgres.tls": {"caSecretRef": secret("ca.crt")}}),
    _policy(
        "a client certificate without its key is refused",
        {"source.redis.tls": {"certSecretRef": secret("tls.crt")}},
        "spec.source.redis.tls",
        "write both certSecretRef and keySecretRef",
        base=REDIS,
    ),
    _policy(
        "a client certificate with its key is accepted",
        {"source.redis.tls": {"certSecretRef": secret("tls.crt"), "keySecretRef": secret("tls.key")}},
        base=REDIS,
    ),
    # counts and checks
    _policy("a minimum of no backups is refused", {"retention.minimum": 0}, "spec.retention.minimum"),
    _policy("a negative count is refused", {"retention.keepDaily": -1}, "spec.retention.keepDaily"),
    _policy("a count that is a text is refused", {"retention.keepDaily": "7"}, "spec.retention.keepDaily"),
    _policy("a switch that is a text is refused", {"suspend": "yes"}, "spec.suspend"),
    _policy("eleven retries are refused", {"job.backoffLimit": 11}, "spec.job.backoffLimit"),
    _policy(
        "a check of nothing is refused",
        {"checks": [{"name": "users", "minimum": 1}]},
        "spec.checks[0]",
        "exactly one of sql, redis and http",
    ),
    _policy(
        "a query that is compared with nothing is refused",
        {"checks": [{"name": "users", "sql": "select 1"}]},
        "spec.checks[0]",
        "exactly one of minimum, equals and newestWithin",
    ),
    _policy("a count of keys in Redis is accepted", {"checks": [{"name": "k", "redis": {}, "minimum": 5}]}, base=REDIS),
    _policy(
        "a count of keys in PostgreSQL is refused",
        {"checks": [{"name": "k", "redis": {}, "minimum": 5}]},
        "a check asks what the source is not",
    ),
    _policy(
        "a query of Redis is refused",
        {"checks": [{"name": "q", "sql": "select 1", "minimum": 1}]},
        "a check asks what the source is not",
        base=REDIS,
    ),
    _policy(
        "an age of keys is refused",
        {"checks": [{"name": "keys", "redis": {}, "newestWithin": "1h"}]},
        "spec.checks[0]",
        "newestWithin looks at a time that sql yields",
    ),
    _policy(
        "a health URL with a password is refused",
        {"checks": [{"name": "app", "http": {"url": "http://a:b@app"}}]},
        "spec.checks[0].http.url",
    ),
    _policy("a heartbeat is accepted", {"notify": {"heartbeatUrlSecretRef": secret("HEARTBEAT_URL")}}),
    _policy(
        "a heartbeat URL that is no key of a Secret is refused",
        {"notify": {"heartbeatUrlSecretRef": {"name": "app"}}},
        "spec.notify.heartbeatUrlSecretRef",
    ),
    _policy(
        "a claim template is accepted", {"storage": {"claimTemplate": {"size": "20Gi", "storageClassName": "standard"}}}
    ),
    _policy(
        "a claim template without a size is refused",
        {"storage": {"claimTemplate": {"storageClassName": "standard"}}},
        "spec.storage.claimTemplate",
    ),
    _policy("a dry run of retention is accepted", {"retention": {"dryRun": True, "keepDaily": 7}}),
    # edits
    Case(
        "a policy that turns to another kind of database is refused",
        "BackupPolicy",
        REDIS,
        ("spec.source", "the kind of source is immutable"),
        old=POSTGRES,
    ),
    Case(
        "a policy that turns to another Secret, schedule and path is accepted",
        "BackupPolicy",
        edited(POSTGRES, {"source.postgres.urlSecretRef.key": "B", "schedule": "@daily", "storage.path": "b"}),
        old=POSTGRES,
    ),
)

_NOT_YET = ("for a feature of a later release",)
LATER = (
    _later("a drill is of a later release", {"drill": {"schedule": "0 4 1 * *"}}, "spec.drill", *_NOT_YET),
    _later("an rto is of a later release", {"objectives.rto": "2h"}, "spec.objectives.rto", *_NOT_YET),
    _later(
        "reading key by key is of a later release",
        {"source": {"redis": {"urlSecretRef": secret("U"), "method": "Scan"}}},
        "spec.source.redis.method",
        *_NOT_YET,
    ),
    _later(
        "the append-only file is of a later release",
        {
            "source": {
                "redis": {"urlSecretRef": secret("U"), "appendOnly": {"claimName": "redis-data", "runAsUser": 999}}
            }
        },
        "spec.source.redis.appendOnly",
        *_NOT_YET,
    ),
    _later(
        "all fields of later releases are named at once",
        {"drill": {"schedule": "@monthly"}, "objectives.rto": "2h"},
        "spec.objectives.rto, spec.drill: these ask",
    ),
)

CASES = (*POLICIES, *LATER)
