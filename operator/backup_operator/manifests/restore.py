"""Room `manifests`: the Job that plans or does a restore, and its order; called by `controller.restores`.

A restoring Job is never tried again: not by a second pod, not by a second Job of another name. It stays when it has
ended, until its RestoreRequest is deleted.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from backup_operator.api import restorerequest
from backup_operator.api.backuppolicy import BackupPolicy
from backup_operator.api.check import Check
from backup_operator.api.job import RestoreJobSettings
from backup_operator.api.meta import SecretKeyRef
from backup_operator.api.restorerequest import BackupChoice, RestoreRequest
from backup_operator.api.restoretarget import PostgresTarget, RedisTarget
from backup_operator.api.source import PostgresSource, PostgresTls, RedisSource, RedisTls
from backup_operator.api.storage import Encryption
from backup_operator.contract.order import StoreOrder
from backup_operator.contract.restore import (
    CheckOrder,
    PostgresTargetOrder,
    RedisTargetOrder,
    RequestIdentity,
    RestoreOrder,
    Selection,
)
from backup_operator.manifests.amounts import amount
from backup_operator.manifests.job import DEADLINE_MARGIN, Owner
from backup_operator.manifests.labels import (
    JOB_NAME_LIMIT,
    ORDER_ANNOTATION,
    REQUEST_ANNOTATION,
    Work,
    request_labels,
)
from backup_operator.manifests.order import claim_of, postgres_tls, redis_tls, server_secrets, store_order
from backup_operator.manifests.placement import restore_placement
from backup_operator.manifests.pod import STORE_MOUNT, PodContent, WorkerPod, worker_pod_spec
from backup_operator.manifests.secrets import passphrase_files, passphrases_by_role, secret_file, secret_mounts_of
from backup_operator.rules.naming import runs_of_safety_name
from backup_operator.rules.short_names import digest, short_name
from backup_operator.vocabulary.choices import ExistingKeys, MissingRoles, PostgresStrategy, RedisStrategy

DEFAULT_DEADLINE = timedelta(hours=6)
_DEFAULT_JOBS = PostgresTargetOrder.model_fields["jobs"].default


@dataclass(frozen=True)
class _Origin:
    """The store that a backup comes from."""

    claim: str
    order: StoreOrder
    encryption: Encryption


def restore_job(
    request: RestoreRequest, policy: BackupPolicy | None, worker: WorkerPod, *, work: Work, approved: str, asked_by: str
) -> dict[str, Any]:
    """The Job of this request: Work.PLAN writes nothing and mounts the store read-only, Work.RESTORE runs at most once.

    `policy` is the one that the request names, None where it names a store; `approved` is the pin of the plan that a
    person approved, empty where none was asked for. Raises: ValueError for what `judge_restore_request` or
    `judge_restore_source` refuses.
    """
    worker = _with_scratch(worker, request.spec.job)
    order = _order(request, policy, worker, work=work, approved=approved, asked_by=asked_by)
    metadata = request.metadata
    owner = Owner(metadata.namespace, metadata.name, metadata.uid, kind=restorerequest.KIND)
    annotations = {REQUEST_ANNOTATION: metadata.name}
    pod = worker_pod_spec(worker, restore_placement(request.spec.job, policy), _pod_content(request, policy, work))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": restore_job_name(metadata.name, metadata.uid, work),
            "namespace": metadata.namespace,
            "labels": request_labels(metadata.name, work),
            "annotations": annotations,
            "ownerReferences": [owner.reference()],
        },
        "spec": {
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": int((order.deadline + DEADLINE_MARGIN).total_seconds()),
            "template": {
                "metadata": {
                    "labels": request_labels(metadata.name, work),
                    "annotations": {**annotations, ORDER_ANNOTATION: order.model_dump_json(exclude_none=True)},
                },
                "spec": pod,
            },
        },
    }


def restore_job_name(request_name: str, uid: str, work: Work) -> str:
    """`<request>-plan-<hash>` or `<request>-restore-<hash>`: one of each for a request, whatever happens."""
    suffix = f"-{work.value}-{digest(uid)}"
    return short_name(request_name, JOB_NAME_LIMIT - len(suffix)) + suffix


def target_secret(request: RestoreRequest, policy: BackupPolicy | None) -> str:
    """`<Secret>/<key>` that the target's URL comes from: what two restores, or a backup and one, must not share.

    Raises: ValueError as `restore_job`.
    """
    url = _server(request, policy).url
    return f"{url.name}/{url.key}"


def _with_scratch(worker: WorkerPod, job: RestoreJobSettings | None) -> WorkerPod:
    return replace(worker, scratch_size=(job.scratch_size if job else None) or worker.scratch_size)


def _order(
    request: RestoreRequest, policy: BackupPolicy | None, worker: WorkerPod, *, work: Work, approved: str, asked_by: str
) -> RestoreOrder:
    """What the worker of this request is asked to do."""
    spec, metadata = request.spec, request.metadata
    origin, server = _origin(request, policy), _server(request, policy)
    identity = RequestIdentity(namespace=metadata.namespace, name=metadata.name, uid=metadata.uid, asked_by=asked_by)
    return RestoreOrder(
        request=identity,
        store=origin.order,
        passphrases=passphrase_files(metadata.namespace, origin.encryption),
        selection=_selection(spec.backup),
        postgres=_postgres(metadata.namespace, server, spec.target.postgres),
        redis=_redis(metadata.namespace, server, spec.target.redis, worker),
        dry_run=work is Work.PLAN,
        approved=approved,
        confirm=spec.confirm or "",
        safety_backup=spec.safety_backup is not False,
        checks=tuple(_check(check) for check in _checks(request, policy)),
        deadline=(spec.job.deadline if spec.job else None) or DEFAULT_DEADLINE,
    )


def _pod_content(request: RestoreRequest, policy: BackupPolicy | None, work: Work) -> PodContent:
    origin, server = _origin(request, policy), _server(request, policy)
    refs = server_secrets(server.url, server.tls) | passphrases_by_role(origin.encryption)
    return PodContent(claim=origin.claim, secrets=secret_mounts_of(refs), store_read_only=work is Work.PLAN)


def _origin(request: RestoreRequest, policy: BackupPolicy | None) -> _Origin:
    store = request.spec.origin.store
    if store is not None:
        described = f"claim {request.metadata.namespace}/{store.claim_name}"
        order = StoreOrder(mount=STORE_MOUNT, path=store.path, described=described)
        return _Origin(store.claim_name, order, store.encryption)
    if policy is None:
        raise ValueError(f"RestoreRequest {request.metadata.name} names a policy, and none was given")
    return _Origin(claim_of(policy), store_order(policy), policy.spec.encryption)


@dataclass(frozen=True)
class _Server:
    """A server to write to: where its URL is, and how TLS is spoken with it."""

    url: SecretKeyRef
    tls: PostgresTls | RedisTls


def _server(request: RestoreRequest, policy: BackupPolicy | None) -> _Server:
    """The target; what it leaves out is the source's, TLS only where the URL is the source's too."""
    target, source = request.spec.target, _source(request, policy)
    wanted: PostgresTarget | RedisTarget | None = target.postgres or target.redis
    if wanted is None:
        raise ValueError("spec.target.redisVolume is a feature of a later release")
    url = wanted.url_secret_ref or (source.url_secret_ref if source is not None else None)
    if url is None:
        raise ValueError("a store knows no server; spec.target has no urlSecretRef")
    if wanted.tls is not None:
        return _Server(url, wanted.tls)
    if source is not None and source.url_secret_ref == url:
        return _Server(url, source.tls)
    return _Server(url, PostgresTls() if target.postgres is not None else RedisTls())


def _source(request: RestoreRequest, policy: BackupPolicy | None) -> PostgresSource | RedisSource | None:
    """The policy's source, of the target's kind; None where the request names a store."""
    if request.spec.origin.store is not None or policy is None:
        return None
    source = policy.spec.source
    found = source.postgres if request.spec.target.postgres is not None else source.redis
    if found is None:
        raise ValueError(f"BackupPolicy {policy.metadata.name} makes backups of {source.kind.value} only")
    return found


def _postgres(namespace: str, server: _Server, target: PostgresTarget | None) -> PostgresTargetOrder | None:
    if target is None:
        return None
    assert isinstance(server.tls, PostgresTls)
    return PostgresTargetOrder(
        url=secret_file(namespace, "url", server.url),
        tls=postgres_tls(namespace, server.tls),
        strategy=target.strategy or PostgresStrategy.NEW_DATABASE,
        database=target.database or "",
        drop_dependents=bool(target.drop_dependents),
        missing_roles=target.missing_roles or MissingRoles.STOP,
        globals=bool(target.globals),
        jobs=target.jobs or _DEFAULT_JOBS,
    )


def _redis(namespace: str, server: _Server, target: RedisTarget | None, worker: WorkerPod) -> RedisTargetOrder | None:
    if target is None:
        return None
    assert isinstance(server.tls, RedisTls)
    # a pod that writes more than the limit of an emptyDir is evicted, and nothing inside of it tells the limit
    scratch = amount(worker.scratch_size)
    return RedisTargetOrder(
        url=secret_file(namespace, "url", server.url),
        tls=redis_tls(namespace, server.tls),
        strategy=target.strategy or RedisStrategy.FAIL_IF_NOT_EMPTY,
        existing=target.existing or ExistingKeys.KEEP,
        key_pattern=target.key_pattern or "",
        scratch_bytes=None if scratch is None else int(scratch),
    )


def _selection(backup: BackupChoice) -> Selection:
    return Selection(name=backup.name or "", before=backup.before, latest=bool(backup.latest))


def _checks(request: RestoreRequest, policy: BackupPolicy | None) -> tuple[Check, ...]:
    """The policy's, then the request's; a safety backup brings back what was there, good or not: only the latter."""
    own = request.spec.checks or ()
    if policy is None or runs_of_safety_name(request.spec.backup.name or ""):
        return own
    return (*policy.spec.checks, *own)


def _check(check: Check) -> CheckOrder:
    order = CheckOrder(
        name=check.name,
        sql=check.sql or "",
        minimum=check.minimum,
        equals=check.equals,
        newest_within=check.newest_within,
    )
    if check.redis is not None:
        return order.model_copy(update={"redis_database": check.redis.database, "redis_key": check.redis.key or ""})
    if check.http is not None:
        return order.model_copy(update={"http_url": check.http.url, "http_status": check.http.status})
    return order
