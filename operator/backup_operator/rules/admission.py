"""Room `rules`: whether a spec is accepted, and why not; pure. Called by `controller`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from backup_operator.api.backuppolicy import BackupPolicySpec
from backup_operator.api.meta import format_duration
from backup_operator.api.words import describe
from backup_operator.rules import schedule as schedules
from backup_operator.vocabulary.choices import RedisMethod
from backup_operator.vocabulary.reasons import Reason


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
    """Where this BackupPolicy wants to write to; None when its spec cannot be read or names no claim."""
    try:
        spec = read_policy_spec(policy.get("spec"))
    except SpecInvalid:
        return None
    metadata = policy["metadata"]
    if spec.storage.claim_name is None:
        return None
    return StoreClaim(
        namespace=metadata["namespace"],
        policy=metadata["name"],
        claim_name=spec.storage.claim_name,
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
    message = " ".join(["The spec is valid and every feature it asks for is built.", *warnings(spec)])
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
    return spec, judge(spec, mine=store_claim(policy, holds=holds), neighbours=neighbours)


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
    (
        "spec.encryption.previousPassphraseSecretRefs",
        lambda spec: bool(spec.encryption.previous_passphrase_secret_refs),
    ),
    ("spec.storage.claimTemplate", lambda spec: spec.storage.claim_template is not None),
    ("spec.objectives.rto", lambda spec: spec.objectives.rto is not None),
    ("spec.notify", lambda spec: spec.notify is not None),
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
    longest = schedules.interval(spec.schedule)
    if spec.suspend or longest is None or longest < spec.objectives.rpo:
        return []
    return [
        f"Warning: runs are up to {format_duration(longest)} apart, and objectives.rpo is "
        f"{format_duration(spec.objectives.rpo)}, so Fresh will turn false between them; run more often or write a "
        "longer rpo."
    ]


def judge_restore_request() -> Verdict:
    """The answer to every RestoreRequest until restores are built: final, nothing was touched."""
    return Verdict(
        accepted=False,
        reason=Reason.NOT_YET_SUPPORTED,
        message="Restores are a feature of a later release; nothing was read and nothing was touched. Open the stored "
        "files by hand as RECOVER.md in the store says, and delete this request: kubectl delete rr <name>",
    )
