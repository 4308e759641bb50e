"""The commands that the demo types, in order; the README shows some of them and a test compares. Pure."""

NAMESPACE = "backup-demo"
STORE = f"/backups/{NAMESPACE}"

INSTALL = (
    "helm upgrade --install backup-operator charts/backup-operator --namespace backup-operator --create-namespace "
    "--set image.repository=backup-operator --set image.tag=dev "
    "--set workerImage.repository=backup-operator-worker --set workerImage.tag=dev --wait --timeout 180s"
)

CLEAN = ("kubectl delete namespace backup-demo --ignore-not-found", "kubectl create namespace backup-demo")

START = (
    "kubectl -n backup-demo create configmap scripts --from-file=tests/support/scripts/servers.sh",
    "kubectl -n backup-demo apply --server-side --filename=tests/demo/servers.yaml",
    "kubectl -n backup-demo wait --for=condition=Ready pod/postgres pod/redis --timeout=120s",
)

FILL = (
    "kubectl -n backup-demo exec postgres -- createdb --host=/run/servers --username=postgres shop",
    "kubectl -n backup-demo exec postgres -- "
    "pgbench --initialize --quiet --scale=5 --host=/run/servers --username=postgres shop",
    "kubectl -n backup-demo exec -i postgres -- "
    "psql --quiet --host=/run/servers --username=postgres --dbname=shop < tests/demo/shop.sql",
    "kubectl -n backup-demo exec -i redis -- "
    "sh -c 'REDISCLI_AUTH=$(cat /server/password) redis-cli' < tests/demo/sessions.txt",
    # a Service leads to its pod a moment after both are there
    "kubectl -n backup-demo exec postgres -- timeout 90 "
    "sh -c 'until pg_isready --host=postgres.backup-demo.svc; do sleep 1; done'",
    "kubectl -n backup-demo exec redis -- timeout 90 "
    "sh -c 'until redis-cli -h redis.backup-demo.svc ping 2>&1 | grep --quiet NOAUTH; do sleep 1; done'",
)

APPLY = (
    "kubectl -n backup-demo create secret generic app --from-env-file=tests/demo/app.env",
    "kubectl -n backup-demo apply --server-side --filename=tests/demo/policies.yaml",
    "kubectl -n backup-demo wait --for=condition=Scheduled bp/shop bp/sessions --timeout=60s",
)

BACK_UP = (
    "kubectl -n backup-demo create job --from=cronjob/shop shop-now",
    "kubectl -n backup-demo create job --from=cronjob/sessions sessions-now",
    "kubectl -n backup-demo wait --for=condition=Complete job/shop-now job/sessions-now --timeout=120s",
    "kubectl -n backup-demo wait --for=condition=Ready bp/shop bp/sessions --timeout=60s",
)

SHOW = ("kubectl -n backup-demo get bp", "kubectl -n backup-demo logs job/shop-now")

DROP = (
    "kubectl -n backup-demo exec postgres -- "
    "psql --host=/run/servers --username=postgres --dbname=shop --command='DROP TABLE users CASCADE'",
)

RESTORE = (
    "kubectl -n backup-demo apply --server-side --filename=tests/demo/back.yaml",
    "kubectl -n backup-demo wait --for=condition=Complete rr/back --timeout=120s",
    "kubectl -n backup-demo get rr back",
)

START_OPENER = (
    "kubectl -n backup-demo apply --server-side --filename=tests/demo/opener.yaml",
    "kubectl -n backup-demo wait --for=condition=Ready pod/opener --timeout=120s",
    f"kubectl -n backup-demo exec opener -- find {STORE} -type f -printf '%s %p\\n'",
)

_GPG = "gpg --batch --quiet --pinentry-mode loopback --passphrase-file /passphrase/BACKUP_ENCRYPTION_KEY --decrypt"


def open_shop(run: str) -> tuple[str, ...]:
    """From the stored file of a PostgreSQL run to a fresh database."""
    load = f"{_GPG} {STORE}/shop/{run}.sql.gz.gpg | gunzip | psql --quiet --output=/dev/null --set=ON_ERROR_STOP=1 shop"
    return (
        "kubectl -n backup-demo exec opener -- createdb shop",
        f"kubectl -n backup-demo exec opener -- bash -o pipefail -c '{load}'",
        "kubectl -n backup-demo exec opener -- psql --command='SELECT count(*) AS restored_users FROM users' shop",
    )


def open_sessions(run: str) -> tuple[str, ...]:
    """From the stored file of a Redis run to a fresh server."""
    unpack = f"{_GPG} {STORE}/sessions/{run}.rdb.gz.gpg | gunzip > /data/dump.rdb"
    return (
        f"kubectl -n backup-demo exec opener -- bash -o pipefail -c '{unpack}'",
        "kubectl -n backup-demo exec opener -- "
        "redis-server --dir /data --save '' --protected-mode no --daemonize yes --logfile /data/redis.log",
        "kubectl -n backup-demo exec opener -- timeout 60 sh -c 'until redis-cli ping | grep PONG; do sleep 1; done'",
        "kubectl -n backup-demo exec opener -- redis-cli INFO keyspace",
    )


NEXT = (
    "kubectl -n backup-demo get bp -o wide",
    "kubectl -n backup-demo describe bp shop",
    "kubectl -n backup-demo describe rr back",
    "kubectl -n backup-demo exec opener -- cat /backups/backup-demo/shop/RECOVER.md",
    "kubectl explain bp.spec.source.postgres",
)
"""What a person may try when the demo is over."""


def every_command() -> tuple[str, ...]:
    """Everything that the demo types, apart from the names of the two runs."""
    return (INSTALL, *CLEAN, *START, *FILL, *APPLY, *BACK_UP, *SHOW, *START_OPENER, *DROP, *RESTORE)
