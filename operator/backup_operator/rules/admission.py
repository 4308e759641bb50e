"""Room `rules`: whether a spec is accepted, and why not; pure. Called by `controller`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from backup_operator.api.backuppolicy import BackupPolicy, BackupPolicySpec
from backup_operator.api.check import Check
from backup_operator.api.meta import ACCEPTED_ANNOTATION, Metadata, format_duration, size_in_words
from backup_operator.api.restorerequest import RedisArtifact, RestoreRequest, RestoreRequestSpec
from backup_operator.api.restorestatus import status_in
from backup_operator.api.restoretarget import PostgresTarget
from backup_operator.api.words import describe
from backup_operator.rules import schedule as schedules
from backup_operator.rules.claims import claim_name
from backup_operator.rules.naming import parse_run_name
from backup_operator.vocabulary.choices import RedisMethod, SourceKind
from backup_operator.vocabulary.reasons import Reason

_SHOWN_OF_A_MISTAKE = 60
"""Characters."""


@dataclass(frozen=True)
class Verdict:
    """Whether a spec is accepted; the message says what to do, or warns."""

    accepted: bool
    reason: Reason
    message: str


@dataclass(frozen=True)
class StoreClaim:
    """A policy and the directory that it writes to."""

    namespace: str
    policy: str
    claim_name: str
    path: str
    created_at: datetime
    """The policy's creationTimestamp."""
    holds: bool = False
    """Whether its CronJob writes there already."""

    @property
    def precedence(self) -> tuple[bool, datetime, str]:
        """Who has a directory that two want: the one that writes there already, then the older one, then by name."""
        return (not self.holds, self.created_at, self.policy)


class SpecInvalid(ValueError):
    """A spec that cannot be read; the message says every fault of it."""


def read_policy_spec(spec: object) -> BackupPolicySpec:
    """The spec of a BackupPolicy as the API server gives it. Raises: SpecInvalid."""
    try:
        return BackupPolicySpec.model_validate(spec if spec is not None else {})
    except ValidationError as exc:
        raise SpecInvalid(describe(exc, "bp")) from exc


def store_claim(policy: Mapping[str, Any], *, holds: bool = False) -> StoreClaim | None:
    """Where this BackupPolicy wants to write to; None when its spec cannot be read."""
    try:
        spec = read_policy_spec(policy.get("spec"))
    except SpecInvalid:
        return None
    metadata = policy["metadata"]
    return StoreClaim(
        namespace=metadata["namespace"],
        policy=metadata["name"],
        claim_name=claim_name(metadata["name"], spec.storage),
        path=store_path(spec, metadata["namespace"], metadata["name"]),
        created_at=_created_at(metadata),
        holds=holds,
    )


def _created_at(metadata: Mapping[str, Any]) -> datetime:
    """When the object was made; one that is not made yet is younger than every other."""
    text = metadata.get("creationTimestamp")
    return datetime.fromisoformat(text) if text else datetime.max.replace(tzinfo=UTC)


def store_path(spec: BackupPolicySpec, namespace: str, name: str) -> str:
    """The directory of a policy on its claim: spec.storage.path, or <namespace>/<policy>."""
    return spec.storage.path or f"{namespace}/{name}"


def judge(spec: BackupPolicySpec, *, mine: StoreClaim | None, neighbours: Sequence[StoreClaim]) -> Verdict:
    """Whether this spec is accepted.

    `neighbours` are the directories that the namespace's policies want, and those that their CronJobs write to where
    these differ; this policy's own may be among them.
    """
    if faults := _faults_in_time(spec):
        return Verdict(accepted=False, reason=Reason.INVALID_SPEC, message=". ".join(faults))
    if fields := fields_of_later_releases(spec):
        return Verdict(accepted=False, reason=Reason.NOT_YET_SUPPORTED, message=_not_yet_supported(fields))
    if mine and (holder := _holder_of_path(mine, neighbours)):
        return Verdict(accepted=False, reason=Reason.PATH_TAKEN, message=_path_taken(mine, holder))
    message = " ".join([_BUILT, *warnings(spec)])
    return Verdict(accepted=True, reason=Reason.ACCEPTED, message=message)


def judge_policy(
    policy: Mapping[str, Any], *, neighbours: Sequence[StoreClaim], holds: bool = False
) -> tuple[BackupPolicySpec | None, Verdict]:
    """The spec of a BackupPolicy as the API server gives it, None when it cannot be read, and the verdict on it.

    `holds` says that its CronJob writes already to the directory that the spec names.
    """
    try:
        spec = read_policy_spec(policy.get("spec"))
    except SpecInvalid as exc:
        return None, Verdict(accepted=False, reason=Reason.INVALID_SPEC, message=str(exc))
    verdict = judge(spec, mine=store_claim(policy, holds=holds), neighbours=neighbours)
    mistyped = _mistyped_acceptance(policy["metadata"])
    return spec, replace(verdict, message=f"{verdict.message} {mistyped}") if mistyped else verdict


def accepted_run(annotations: Mapping[str, str]) -> str:
    """The run from which on a person accepts what the data looks like; empty without one, and for what is no run."""
    name = annotations.get(ACCEPTED_ANNOTATION, "").strip()
    return name if parse_run_name(name) else ""


def _mistyped_acceptance(metadata: Mapping[str, Any]) -> str:
    """A warning where somebody meant to accept a run and named none; empty otherwise."""
    annotations = metadata.get("annotations") or {}
    if ACCEPTED_ANNOTATION not in annotations or accepted_run(annotations):
        return ""
    found = annotations[ACCEPTED_ANNOTATION][:_SHOWN_OF_A_MISTAKE]
    return (
        f'Warning: annotation {ACCEPTED_ANNOTATION} is "{found}", which names no run, so nothing is accepted; write '
        "for example backup_20231201_020000."
    )


def _faults_in_time(spec: BackupPolicySpec) -> list[str]:
    """What a schedule or a zone has that no pattern can tell."""
    faults = []
    try:
        schedules.zone(spec.time_zone)
    except schedules.TimeZoneUnknown as exc:
        faults.append(f"spec.timeZone: {exc}")
    try:
        if schedules.interval(spec.schedule) is None:
            faults.append(f'spec.schedule: found "{spec.schedule}", which never comes; write for example "0 2 * * *"')
    except schedules.ScheduleInvalid as exc:
        faults.append(f"spec.schedule: {exc}")
    return faults


_LATER: tuple[tuple[str, Callable[[BackupPolicySpec], bool]], ...] = (
    ("spec.source.redis.appendOnly", lambda spec: bool(spec.source.redis and spec.source.redis.append_only)),
    (
        "spec.source.redis.method: Scan",
        lambda spec: bool(spec.source.redis and spec.source.redis.method == RedisMethod.SCAN),
    ),
    ("spec.objectives.rto", lambda spec: spec.objectives.rto is not None),
    ("spec.drill", lambda spec: spec.drill is not None),
)


def fields_of_later_releases(spec: BackupPolicySpec) -> list[str]:
    """Every field in this spec whose feature is not built yet, by its path."""
    return [field for field, is_asked_for in _LATER if is_asked_for(spec)]


def _not_yet_supported(fields: Sequence[str]) -> str:
    what = "these ask" if len(fields) > 1 else "this asks"
    return f"{', '.join(fields)}: {what} for a feature of a later release; take it out of the spec, nothing is ignored"


def _holder_of_path(mine: StoreClaim, neighbours: Sequence[StoreClaim]) -> StoreClaim | None:
    """The policy that comes before this one and whose directory is this one, holds it, or lies in it."""
    others = [other for other in neighbours if other.policy != mine.policy and _overlap(mine, other)]
    holders = [other for other in others if other.precedence < mine.precedence]
    return min(holders, key=lambda other: other.precedence, default=None)


def _overlap(one: StoreClaim, other: StoreClaim) -> bool:
    if (one.namespace, one.claim_name) != (other.namespace, other.claim_name):
        return False
    first, second = f"{one.path}/", f"{other.path}/"
    return first.startswith(second) or second.startswith(first)


def _path_taken(mine: StoreClaim, holder: StoreClaim) -> str:
    found = "is used" if mine.path == holder.path else f"overlaps with {holder.path}, which is used"
    default = f"{mine.namespace}/{mine.policy}"
    # a holder of the namespace's own directory has the default below it taken too
    free = default if not _overlap(replace(mine, path=default), holder) else f"{mine.namespace}-{mine.policy}"
    return (
        f"spec.storage.path: {mine.path} on claim {mine.claim_name} {found} by BackupPolicy {holder.policy}; each "
        f"policy needs a directory of its own; write for example path: {free}"
    )


def warnings(spec: BackupPolicySpec) -> list[str]:
    """What is valid and still a mistake: a schedule that cannot meet the objective."""
    longest = schedules.interval(spec.schedule, spec.time_zone)
    if spec.suspend or longest is None or longest < spec.objectives.rpo:
        return []
    by_wall_clock = schedules.interval(spec.schedule)
    when = " where the clocks change" if by_wall_clock is not None and by_wall_clock < longest else ""
    return [
        f"Warning: runs are up to {format_duration(longest)} apart{when}, and objectives.rpo is "
        f"{format_duration(spec.objectives.rpo)}, so Fresh will turn false between them; run more often or write a "
        "longer rpo."
    ]


_BUILT = "The spec is valid and every feature it asks for is built."
_ACCEPTED = Verdict(accepted=True, reason=Reason.ACCEPTED, message=_BUILT)
_UNTOUCHED = "Nothing was touched; write another RestoreRequest."
_CHECKS_LIMIT_BYTES = 200 * 1024
"""The annotations of a pod, its order among them, take 256 KiB at most."""
_POSTGRES_NAME_LIMIT_BYTES = 63
"""Source: https://www.postgresql.org/docs/current/limits.html (identifier length)"""
_OLD_APPEND_ONLY_FILE = re.compile(r"redis_aof_.+\.aof(\.gz)?(\.gpg)?")


def judge_restore_request(raw: Mapping[str, Any]) -> tuple[RestoreRequest | None, Verdict]:
    """The RestoreRequest as the API server gives it, None when its spec cannot be read, and the verdict on it.

    The spec is immutable, so a refusal (InvalidSpec, NotYetSupported) is for good.
    """
    try:
        spec = RestoreRequestSpec.model_validate(raw.get("spec") or {})
    except ValidationError as exc:
        return None, _refused(Reason.INVALID_SPEC, describe(exc, "rr"))
    metadata = Metadata.model_validate(raw["metadata"])
    request = RestoreRequest(metadata=metadata, spec=spec, status=status_in(raw))
    return request, _judge_restore(request)


def judge_restore_source(request: RestoreRequest, policy: BackupPolicy) -> Verdict:
    """Whether a backup of this policy can go to the request's target at all; said when the policy is known."""
    made_by = policy.spec.source.kind
    wanted = SourceKind.POSTGRES if request.spec.target.postgres is not None else SourceKind.REDIS
    if made_by is not wanted:
        return _refused(
            Reason.INVALID_SPEC,
            f"spec.target: found {wanted.value.lower()}; BackupPolicy {policy.metadata.name} makes backups of "
            f"{made_by.value}; write target: {{{made_by.value.lower()}: {{}}}}",
        )
    if too_long := _checks_too_long((*policy.spec.checks, *(request.spec.checks or ()))):
        return _refused(Reason.INVALID_SPEC, too_long)
    return _ACCEPTED


def _judge_restore(request: RestoreRequest) -> Verdict:
    spec, name = request.spec, request.metadata.name
    if name in (spec.after or ()):
        return _refused(
            Reason.INVALID_SPEC,
            f"spec.after: found {name}, which is this request itself and would wait for ever; take it out",
        )
    if too_long := _database_too_long(spec.target.postgres) or _checks_too_long(spec.checks or ()):
        return _refused(Reason.INVALID_SPEC, too_long)
    if fields := [field for field, is_asked_for in _LATER_IN_RESTORES if is_asked_for(spec)]:
        return _refused(Reason.NOT_YET_SUPPORTED, _not_yet_supported(fields))
    return _ACCEPTED


def _database_too_long(target: PostgresTarget | None) -> str:
    """What is wrong with a name that PostgreSQL would cut without a word; empty when it fits."""
    size = len((target.database or "").encode()) if target is not None else 0
    if size <= _POSTGRES_NAME_LIMIT_BYTES:
        return ""
    return (
        f"spec.target.postgres.database: found {size} bytes; expected {_POSTGRES_NAME_LIMIT_BYTES} or fewer, to which "
        "PostgreSQL cuts names; write a shorter one"
    )


def _checks_too_long(checks: Sequence[Check]) -> str:
    """What is wrong with more checks than an order can hold; empty when they fit."""
    size = sum(len(check.model_dump_json().encode()) for check in checks)
    limit = size_in_words(_CHECKS_LIMIT_BYTES)
    if size <= _CHECKS_LIMIT_BYTES:
        return ""
    return (
        f"spec.checks: found {size_in_words(size)}, the policy's included; expected {limit}"
        " or less; shorten the queries, for example by views in the database"
    )


_LATER_IN_RESTORES: tuple[tuple[str, Callable[[RestoreRequestSpec], bool]], ...] = (
    ("spec.target.redisVolume", lambda spec: spec.target.redis_volume is not None),
    (
        "spec.backup.artifact: Aof",
        lambda spec: spec.backup.artifact == RedisArtifact.AOF and not _is_append_only_file(spec.backup.name),
    ),
)


def _is_append_only_file(name: str | None) -> bool:
    """Whether it names an append-only file that the old scripts copied: those are restored as they are."""
    return name is not None and _OLD_APPEND_ONLY_FILE.fullmatch(name) is not None


def _refused(reason: Reason, message: str) -> Verdict:
    return Verdict(accepted=False, reason=reason, message=f"{message.rstrip('.')}. {_UNTOUCHED}")
