"""The table of RestoreRequests, and what is said about them; models and API server are held to the same rows."""

from collections.abc import Mapping
from typing import Any

from tests.unit.api.cases import REMOVED, WHOLE, Case, edited, secret

RESTORE = {
    "from": {"policyRef": {"name": "app-db"}},
    "backup": {"latest": True},
    "target": {"postgres": {}},
}
STORE = {
    "claimName": "backups",
    "path": "prod/app-db",
    "encryption": {"passphraseSecretRef": secret("BACKUP_ENCRYPTION_KEY")},
}
PLANNED = edited(RESTORE, {"dryRun": True})
VOLUME = {"redisVolume": {"claimName": "redis-data", "workloadRef": {"kind": "StatefulSet", "name": "redis"}}}
WHOLE_POSTGRES = {
    "urlSecretRef": secret("ADMIN_URL"),
    "tls": {"mode": "VerifyFull", "caSecretRef": secret("ca.crt")},
    "strategy": "InPlace",
    "database": "app",
    "dropDependents": True,
    "missingRoles": "LeaveOut",
    "globals": True,
}
WHOLE_REDIS = {
    "urlSecretRef": secret("REDIS_URL"),
    "tls": {"caSecretRef": secret("ca.crt"), "certSecretRef": secret("tls.crt"), "keySecretRef": secret("tls.key")},
    "strategy": "Merge",
    "existing": "Replace",
    "keyPattern": "session:*",
}
SQL_CHECK = {"name": "newest", "sql": "select max(at) from log", "newestWithin": "1h"}
REDIS_CHECK = {"name": "keys", "redis": {"database": 1}, "minimum": 5}
HTTP_CHECK = {"name": "app", "http": {"url": "http://app.prod/health"}}
JOB: Mapping[str, Any] = WHOLE["job"]
RESTORE_JOB = {"scratchSize": "20Gi", **{key: JOB[key] for key in JOB if key != "backoffLimit"}}


def _restore(sentence: str, edits: Mapping[str, Any], *words: str) -> Case:
    return Case(sentence, "RestoreRequest", edited(RESTORE, edits), words)


def _edit(sentence: str, old: Mapping[str, Any], edits: Mapping[str, Any], *words: str) -> Case:
    return Case(sentence, "RestoreRequest", edited(old, edits), words, old=old)


_CONFIRM = ("confirm is missing and content can be lost",)

RESTORES = (
    _restore("the shortest restore is accepted", {}),
    _restore("a policy of the longest name is accepted", {"from.policyRef.name": "a" * 200 + "." + "b" * 52}),
    _restore("a policy of a longer name is refused", {"from.policyRef.name": "a" * 254}, "spec.from.policyRef.name"),
    _restore("a restore by name is accepted", {"backup": {"name": "backup_20231201_020000"}}),
    _restore(
        "a restore of an old script's file is accepted", {"backup": {"name": "backup_20231201_020000.sql.gz.gpg"}}
    ),
    _restore("a restore from before a time is accepted", {"backup": {"before": "2023-12-01T03:00:00Z"}}),
    _restore("a time that is none is refused", {"backup": {"before": "yesterday"}}, "spec.backup.before"),
    _restore(
        "no choice of a backup is refused", {"backup": {}}, "spec.backup", "exactly one of name, before and latest"
    ),
    _restore(
        "two choices of a backup are refused",
        {"backup": {"latest": True, "name": "backup_20231201_020000"}},
        "exactly one of name, before and latest",
    ),
    _restore("latest: false is refused", {"backup": {"latest": False}}, "spec.backup.latest"),
    _restore(
        "a backup outside of the store is refused", {"backup": {"name": "../x"}}, "spec.backup.name", 'found "../x"'
    ),
    _restore("a restore from nowhere is refused", {"from": {}}, "spec.from", "exactly one of policyRef and store"),
    _restore(
        "a restore from a store with a URL is accepted",
        {"from": {"store": STORE}, "target.postgres.urlSecretRef": secret("U")},
    ),
    _restore(
        "a restore from a store without a URL is refused", {"from": {"store": STORE}}, "write the target's urlSecretRef"
    ),
    _restore(
        "a store without a path is refused",
        {"from": {"store": {**STORE, "path": ""}}, "target.postgres.urlSecretRef": secret("U")},
        "spec.from.store.path",
    ),
    _restore(
        "two targets are refused", {"target.redis": {}}, "spec.target", "exactly one of postgres, redis and redisVolume"
    ),
    _restore("an unknown strategy is refused", {"target.postgres.strategy": "Drop"}, "spec.target.postgres.strategy"),
    _restore("an artifact of PostgreSQL is refused", {"backup.artifact": "Aof"}, "artifact is for Redis only"),
    _restore("a new database needs no confirmation", {"target.postgres": {"strategy": "NewDatabase", "database": "b"}}),
    *(
        _restore(f"{strategy} without confirm is refused", {"target.postgres.strategy": strategy}, *_CONFIRM)
        for strategy in ("InPlace", "SwapDatabase")
    ),
    *(
        _restore(f"{strategy} without confirm is refused", {"target": {"redis": {"strategy": strategy}}}, *_CONFIRM)
        for strategy in ("Merge", "Replace")
    ),
    _restore("FailIfNotEmpty needs no confirmation", {"target": {"redis": {"strategy": "FailIfNotEmpty"}}}),
    _restore("a volume without confirm is refused", {"target": VOLUME}, *_CONFIRM),
    _restore("an empty confirm is refused", {"target": VOLUME, "confirm": ""}, *_CONFIRM),
    _restore("a volume confirmed by its claim is accepted", {"target": VOLUME, "confirm": "redis-data"}),
    _restore(
        "a volume confirmed by another name is refused",
        {"target": VOLUME, "confirm": "redis"},
        "confirm is not the name",
    ),
    _restore("InPlace with confirm is accepted", {"target.postgres.strategy": "InPlace", "confirm": "app"}),
    _restore(
        "confirming another database is refused",
        {"target.postgres": {"strategy": "SwapDatabase", "database": "app"}, "confirm": "ap"},
        "confirm is not the name of what is overwritten",
    ),
    _restore("checks and what comes before are accepted", {"after": ["restore-db"], "checks": [SQL_CHECK, HTTP_CHECK]}),
    _restore("checks of Redis are accepted", {"target": {"redis": {}}, "checks": [REDIS_CHECK, HTTP_CHECK]}),
    *(
        _restore(
            f"a check that {kind} cannot answer is refused",
            {"target": {kind: {}}, "checks": [HTTP_CHECK, check]},
            "a check asks what the target is not",
        )
        for kind, check in (("postgres", REDIS_CHECK), ("redis", SQL_CHECK))
    ),
    _restore("21 requests before are refused", {"after": ["a"] * 21}, "spec.after"),
    # targets
    _restore("every field of a PostgreSQL target is accepted", {"target.postgres": WHOLE_POSTGRES, "confirm": "app"}),
    _restore("every field of a Redis target is accepted", {"target": {"redis": WHOLE_REDIS}, "confirm": "r/0"}),
    _restore(
        "a CA with mode Require is refused in a target",
        {"target.postgres.tls": {"mode": "Require", "caSecretRef": secret("ca.crt")}},
        "spec.target.postgres.tls",
        "caSecretRef is used by mode VerifyCA and VerifyFull only",
    ),
    _restore(
        "a client certificate without its key is refused in a target",
        {"target": {"redis": {"tls": {"certSecretRef": secret("tls.crt")}}}},
        "spec.target.redis.tls",
        "write both certSecretRef and keySecretRef",
    ),
    _restore(
        "dropping dependents of a new database is refused",
        {"target.postgres.dropDependents": True},
        "spec.target.postgres",
        "dropDependents is for InPlace only",
    ),
    _restore(
        "dropping no dependents is accepted everywhere",
        {"target.postgres": {"strategy": "SwapDatabase", "dropDependents": False}, "confirm": "app"},
    ),
    _restore(
        "parallel jobs in one transaction are refused",
        {"target.postgres": {"strategy": "InPlace", "jobs": 2}, "confirm": "app"},
        "spec.target.postgres",
        "jobs is not for InPlace",
    ),
    _restore(
        "one job in one transaction is accepted",
        {"target.postgres": {"strategy": "InPlace", "jobs": 1}, "confirm": "app"},
    ),
    *(
        _restore(f"{number} parallel jobs are refused", {"target.postgres.jobs": number}, "spec.target.postgres.jobs")
        for number in (0, 17)
    ),
    _restore("16 parallel jobs are accepted", {"target.postgres.jobs": 16}),
    _restore("an unknown word for missing roles is refused", {"target.postgres.missingRoles": "Make"}, "missingRoles"),
    _restore("a switch that is a text is refused in a target", {"target.postgres.globals": "yes"}, "postgres.globals"),
    *(
        _restore(
            f"a side that wins is refused with {strategy}",
            {"target": {"redis": {"existing": "Keep", **strategy}}, "confirm": "r/0"},
            "spec.target.redis",
            "existing is for Merge only",
        )
        for strategy in ({}, {"strategy": "FailIfNotEmpty"}, {"strategy": "Replace"})
    ),
    _restore("an unknown side that wins is refused", {"target": {"redis": {"existing": "Both"}}}, "redis.existing"),
    _restore("an empty pattern is refused", {"target": {"redis": {"keyPattern": ""}}}, "spec.target.redis.keyPattern"),
    # how it runs
    _restore("every field of a job is accepted", {"job": RESTORE_JOB}),
    _restore("a deadline of half a minute is refused for a restore", {"job.deadline": "30s"}, "shorter than a minute"),
    _restore(
        "an amount that is none is refused for a restore", {"job.resources": {"limits": {"cpu": "all"}}}, 'found "all"'
    ),
    _restore("retries of a restore are unknown", {"job": {"backoffLimit": 1}}, "spec.job.backoffLimit"),
    _restore("a size that is none is refused for a restore", {"job.scratchSize": "much"}, "spec.job.scratchSize"),
    # from a store
    _restore(
        "a store with the passphrases of before a rotation is accepted",
        {
            "from": {
                "store": edited(STORE, {"encryption.previousPassphraseSecretRefs": [secret("OLD"), secret("OLDER")]})
            },
            "target.postgres.urlSecretRef": secret("U"),
        },
    ),
    # edits
    _edit("the approval is accepted", PLANNED, {"dryRun": False}),
    _edit("the approval by taking dryRun out is accepted", PLANNED, {"dryRun": REMOVED}),
    _edit(
        "going back to a dry run is refused", RESTORE, {"dryRun": True}, "spec", "dryRun can go from true to false only"
    ),
    _edit(
        "an approval that carries another edit is refused",
        PLANNED,
        {"dryRun": False, "backup": {"name": "backup_20231201_020000"}},
        "backup is immutable",
    ),
    *(
        _edit(f"an edit of {path} is refused", PLANNED, {path: value}, f"{path.split('.')[0]} is immutable")
        for path, value in (
            ("from.policyRef.name", "other"),
            ("target.postgres.database", "other"),
            ("confirm", "app"),
            ("safetyBackup", False),
            ("after", ["restore-db"]),
            ("checks", [{"name": "one", "sql": "select 1", "equals": "1"}]),
            ("job", {"deadline": "1h"}),
        )
    ),
    _edit(
        "an edit deep in the job is refused",
        edited(PLANNED, {"job.resources": {"limits": {"memory": "1Gi"}}}),
        {"job.resources": {"limits": {"memory": "2Gi"}}},
        "job is immutable",
    ),
    _edit(
        "the approval of a request with a job is accepted",
        edited(PLANNED, {"job": {"nodeSelector": {"disk": "ssd"}, "resources": {"limits": {"cpu": 1}}}}),
        {"dryRun": False},
    ),
    _edit(
        "taking a field out is refused",
        edited(PLANNED, {"confirm": "app"}),
        {"confirm": REMOVED},
        "confirm is immutable",
    ),
)
