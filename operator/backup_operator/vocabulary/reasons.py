"""Room `vocabulary`: every reason that a condition can carry, with its meaning; the README's table is made from it."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a condition has its status; one closed set for conditions, reports and Events."""

    # Ready, Accepted, Scheduled, Fresh: said by the operator
    ACCEPTED = "Accepted"
    INVALID_SPEC = "InvalidSpec"
    NOT_YET_SUPPORTED = "NotYetSupported"
    PATH_TAKEN = "PathTaken"
    SCHEDULED = "Scheduled"
    SUSPENDED = "Suspended"
    APPLY_REFUSED = "ApplyRefused"
    SUCCEEDED = "Succeeded"
    NEVER_RUN = "NeverRun"
    WITHIN_OBJECTIVE = "WithinObjective"
    NEVER_SUCCEEDED = "NeverSucceeded"
    OBJECTIVE_EXCEEDED = "ObjectiveExceeded"
    RUN_STUCK = "RunStuck"
    READY = "Ready"
    # Retained, StorageAvailable, Plausible
    APPLIED = "Applied"
    DRY_RUN = "DryRun"
    FLOOR_REACHED = "FloorReached"
    NOT_YET_APPLIED = "NotYetApplied"
    RETENTION_BLOCKED = "RetentionBlocked"
    BELOW_LIMIT = "BelowLimit"
    USAGE_ABOVE_LIMIT = "UsageAboveLimit"
    IN_LINE = "InLine"
    NOTHING_TO_COMPARE = "NothingToCompare"
    CHANGE_ACCEPTED = "ChangeAccepted"
    SIZE_COLLAPSED = "SizeCollapsed"
    ROWS_COLLAPSED = "RowsCollapsed"
    KEYS_COLLAPSED = "KeysCollapsed"
    TABLE_VANISHED = "TableVanished"
    # a run that failed: reaching and reading the source
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    CONNECTION_REFUSED = "ConnectionRefused"
    CONNECTION_LOST = "ConnectionLost"
    NAME_NOT_RESOLVED = "NameNotResolved"
    NETWORK_UNREACHABLE = "NetworkUnreachable"
    CONNECTION_TIMED_OUT = "ConnectionTimedOut"
    TLS_FAILED = "TLSFailed"
    URL_INVALID = "UrlInvalid"
    DATABASE_MISSING = "DatabaseMissing"
    VERSION_MISMATCH = "VersionMismatch"
    PERMISSION_DENIED = "PermissionDenied"
    POOLER_TRANSACTION_MODE = "PoolerTransactionMode"
    LOCK_TIMEOUT = "LockTimeout"
    RESTORE_RUNNING = "RestoreRunning"
    TOO_MANY_CONNECTIONS = "TooManyConnections"
    SYNC_FORBIDDEN = "SyncForbidden"
    CLUSTER_MODE_UNSUPPORTED = "ClusterModeUnsupported"
    SERVER_LOADING = "ServerLoading"
    SERVER_NOT_READY = "ServerNotReady"
    SNAPSHOT_FAILED = "SnapshotFailed"
    MODULE_DATA_UNSUPPORTED = "ModuleDataUnsupported"
    FILTER_MATCHES_NOTHING = "FilterMatchesNothing"
    SOURCE_EMPTY = "SourceEmpty"
    DUMP_INCOMPLETE = "DumpIncomplete"
    # a run that failed: keys, store and volume
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a reason's name, no secret
    KEY_INVALID = "KeyInvalid"
    STORE_BUSY = "StoreBusy"
    STORAGE_FULL = "StorageFull"
    QUOTA_EXCEEDED = "QuotaExceeded"
    STORE_PERMISSION = "StorePermission"
    STORE_MISSING = "StoreMissing"
    STORAGE_FAILED = "StorageFailed"
    CLAIM_MISSING = "ClaimMissing"
    CLAIM_PENDING = "ClaimPending"
    CLAIM_READ_ONLY = "ClaimReadOnly"
    CLAIM_IN_USE = "ClaimInUse"
    VERIFICATION_FAILED = "VerificationFailed"
    # a run that failed: the pod, not the work
    INTERRUPTED = "Interrupted"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    OUT_OF_MEMORY = "OutOfMemory"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    POD_PENDING = "PodPending"
    UNSCHEDULABLE = "Unschedulable"
    POD_REFUSED = "PodRefused"
    CONTAINER_REFUSED = "ContainerRefused"
    JOB_LOST = "JobLost"
    ORDER_INVALID = "OrderInvalid"
    INTERNAL_ERROR = "InternalError"
    # a restore: how far it is
    PLANNED = "Planned"
    OBSTACLES_FOUND = "ObstaclesFound"
    RESTORED = "Restored"
    # a restore that cannot begin, or that failed
    AFTER_FAILED = "AfterFailed"
    BACKUP_NOT_FOUND = "BackupNotFound"
    CONFIRM_MISSING = "ConfirmMissing"
    PLAN_CHANGED = "PlanChanged"
    TARGET_EXISTS = "TargetExists"
    TARGET_NOT_EMPTY = "TargetNotEmpty"
    TARGET_IN_USE = "TargetInUse"
    TARGET_UNSUITABLE = "TargetUnsuitable"
    ROLES_MISSING = "RolesMissing"
    DEPENDENTS_IN_THE_WAY = "DependentsInTheWay"
    SAFETY_BACKUP_FAILED = "SafetyBackupFailed"
    RESTORE_FAILED = "RestoreFailed"
    CHECK_FAILED = "CheckFailed"
    ALREADY_STARTED = "AlreadyStarted"


MEANING: dict[Reason, str] = {
    Reason.ACCEPTED: "The spec is valid and every feature it asks for is built.",
    Reason.INVALID_SPEC: "A field is wrong; the message names it, what was found and what is expected.",
    Reason.NOT_YET_SUPPORTED: "A field asks for a feature of a later release; the message names it.",
    Reason.PATH_TAKEN: "Another policy already writes to this path of the claim.",
    Reason.SCHEDULED: "The CronJob is as the policy wants it.",
    Reason.SUSPENDED: "`spec.suspend` is true: no run is started on schedule.",
    Reason.APPLY_REFUSED: "The API server refused the CronJob or another object; its words are in the message.",
    Reason.SUCCEEDED: "The newest run ended in a verified backup.",
    Reason.NEVER_RUN: "No run has ended yet.",
    Reason.WITHIN_OBJECTIVE: "The newest verified backup is younger than `objectives.rpo`.",
    Reason.NEVER_SUCCEEDED: "No verified backup exists in this store.",
    Reason.OBJECTIVE_EXCEEDED: "The newest verified backup is older than `objectives.rpo`.",
    Reason.RUN_STUCK: "A run has been going for longer than `objectives.rpo` and no fresh backup is left.",
    Reason.READY: "Every condition that applies is true.",
    Reason.APPLIED: "Retention ran after the newest good run.",
    Reason.DRY_RUN: "`spec.retention.dryRun` is true: nothing is deleted, and the message says what would go.",
    Reason.FLOOR_REACHED: "Retention ran; `retention.minimum` alone keeps some of the backups that are left.",
    Reason.NOT_YET_APPLIED: "Retention has not run to its end since the newest good run; the message says why.",
    Reason.RETENTION_BLOCKED: "Backups that should go are kept while the newest one is implausible.",
    Reason.BELOW_LIMIT: "The volume is used below `storage.usageLimitPercent`, and could be written.",
    Reason.USAGE_ABOVE_LIMIT: "The volume is used above `storage.usageLimitPercent`.",
    Reason.IN_LINE: "Size, rows and keys of the newest backup are in line with those of the backups before it.",
    Reason.NOTHING_TO_COMPARE: "There is no earlier backup to compare the newest one with.",
    Reason.CHANGE_ACCEPTED: "The newest backup is not in line with those before it, and a person has accepted that.",
    Reason.SIZE_COLLAPSED: "The newest backup is far smaller than those before it.",
    Reason.ROWS_COLLAPSED: "The newest backup holds far fewer rows than those before it.",
    Reason.KEYS_COLLAPSED: "The newest backup holds far fewer keys than those before it.",
    Reason.TABLE_VANISHED: "A table that the backups before held is not in the newest one.",
    Reason.AUTHENTICATION_FAILED: "The server refused the user name or the password.",
    Reason.CONNECTION_REFUSED: "Nothing listens on that host and port, or a firewall refuses.",
    Reason.CONNECTION_LOST: "The server closed the connection in the middle of the work.",
    Reason.NAME_NOT_RESOLVED: "The host name of the URL is unknown to DNS.",
    Reason.NETWORK_UNREACHABLE: "There is no route to the host (for a Supabase direct host: no IPv6).",
    Reason.CONNECTION_TIMED_OUT: "The host did not answer in time.",
    Reason.TLS_FAILED: "TLS could not be agreed: wrong CA, expired certificate, wrong host name, or no TLS at all.",
    Reason.URL_INVALID: "The connection URL cannot be read.",
    Reason.DATABASE_MISSING: "The server has no database of that name.",
    Reason.VERSION_MISMATCH: "The server is newer than every client (or reader) in the image.",
    Reason.PERMISSION_DENIED: "The role may not read something that the backup needs; the message names it.",
    Reason.POOLER_TRANSACTION_MODE: "The URL leads to a transaction pooler (port 6543); pg_dump needs a session.",
    Reason.LOCK_TIMEOUT: "A table stayed locked by others for longer than the run waits.",
    Reason.RESTORE_RUNNING: "A restore is writing to the database; the backup is made when that is over.",
    Reason.TOO_MANY_CONNECTIONS: "The server has no free connection slot.",
    Reason.SYNC_FORBIDDEN: "The Redis server or its ACL refuses SYNC.",
    Reason.CLUSTER_MODE_UNSUPPORTED: "The URL leads to a Redis Cluster's node or a Sentinel: neither holds the whole.",
    Reason.SERVER_LOADING: "Redis is still loading its data set.",
    Reason.SERVER_NOT_READY: "The server is starting up, shutting down or recovering.",
    Reason.SNAPSHOT_FAILED: "Redis could not make its snapshot (for example MISCONF, fork failed, disk full).",
    Reason.MODULE_DATA_UNSUPPORTED: "The RDB holds module data or a version that the image's redis-server cannot read.",
    Reason.FILTER_MATCHES_NOTHING: "A name in `schemas` or `tables` matches nothing in the database.",
    Reason.SOURCE_EMPTY: "There is nothing to back up.",
    Reason.DUMP_INCOMPLETE: "The dump ended before its end mark, or the dump tool failed.",
    Reason.SECRET_MISSING: "A Secret or a key in it is missing.",
    Reason.KEY_INVALID: "The passphrase is empty, shorter than 12 characters, or does not open a stored file.",
    Reason.STORE_BUSY: "Another run of this store is writing; one writer at a time.",
    Reason.STORAGE_FULL: "The volume has no room.",
    Reason.QUOTA_EXCEEDED: "The volume has room, and the quota on it is used up.",
    Reason.STORE_PERMISSION: "The store's directory belongs to someone else or its mode forbids writing.",
    Reason.STORE_MISSING: "The claim holds no directory at the store's path: no run has made it yet, or it is another.",
    Reason.STORAGE_FAILED: "The volume answered with an error (input/output error, lost server, no file locks).",
    Reason.CLAIM_MISSING: "The PersistentVolumeClaim does not exist.",
    Reason.CLAIM_PENDING: "The PersistentVolumeClaim is not bound to a volume.",
    Reason.CLAIM_READ_ONLY: "The volume is mounted read-only.",
    Reason.CLAIM_IN_USE: "The claim is in use by another pod or node and can be mounted once only.",
    Reason.VERIFICATION_FAILED: "The stored file, read back, is not what was written.",
    Reason.INTERRUPTED: "The pod was stopped (eviction, node shutdown, deletion) before the run ended.",
    Reason.DEADLINE_EXCEEDED: "The run took longer than `job.deadline`.",
    Reason.OUT_OF_MEMORY: "The worker was killed because it passed its memory limit.",
    Reason.IMAGE_UNAVAILABLE: "The worker image cannot be pulled.",
    Reason.POD_PENDING: "The pod has not started; the message says what it waits for.",
    Reason.UNSCHEDULABLE: "No node takes the pod; the scheduler's words are in the message.",
    Reason.POD_REFUSED: "The API server refused the pod (quota, policy, …); its words are in the message.",
    Reason.CONTAINER_REFUSED: "The container could not be created or started.",
    Reason.JOB_LOST: "The Job ended or vanished without a report.",
    Reason.ORDER_INVALID: "The worker cannot read its order: operator and worker image do not fit together.",
    Reason.INTERNAL_ERROR: "A fault of ours; the worker's log has the trace.",
    Reason.PLANNED: "The plan is made and nothing is in its way; setting `dryRun: false` approves it.",
    Reason.OBSTACLES_FOUND: "The plan is made, and says what is in its way; nothing was touched.",
    Reason.RESTORED: "The backup is back, its counts agree and every check holds.",
    Reason.AFTER_FAILED: "A request that this one waits for has failed, so this one was not begun.",
    Reason.BACKUP_NOT_FOUND: "The store holds no such backup; the message names those that are there.",
    Reason.CONFIRM_MISSING: "Content can be lost, and `confirm` does not name it.",
    Reason.PLAN_CHANGED: "The target or the backup is no longer what the approved plan says.",
    Reason.TARGET_EXISTS: "The database that would be made is there already.",
    Reason.TARGET_NOT_EMPTY: "The target holds content, and the strategy overwrites nothing.",
    Reason.TARGET_IN_USE: "Others hold what has to be replaced; the message names them.",
    Reason.TARGET_UNSUITABLE: "The target lacks something: an extension, an encoding, locks, memory, a version.",
    Reason.ROLES_MISSING: "The backup belongs to roles that the target does not have.",
    Reason.DEPENDENTS_IN_THE_WAY: "Objects that are not in the backup hang on those that are replaced.",
    Reason.SAFETY_BACKUP_FAILED: "The target's own content could not be backed up first; nothing was touched.",
    Reason.RESTORE_FAILED: "The target refused something in the middle; the message says in what state it is.",
    Reason.CHECK_FAILED: "The data is back, but a check on it does not hold.",
    Reason.ALREADY_STARTED: "This request has been started before; a request runs at most once.",
}

RESTORE_REASONS: frozenset[Reason] = frozenset(
    {
        Reason.PLANNED,
        Reason.OBSTACLES_FOUND,
        Reason.RESTORED,
        Reason.AFTER_FAILED,
        Reason.BACKUP_NOT_FOUND,
        Reason.CONFIRM_MISSING,
        Reason.PLAN_CHANGED,
        Reason.TARGET_EXISTS,
        Reason.TARGET_NOT_EMPTY,
        Reason.TARGET_IN_USE,
        Reason.TARGET_UNSUITABLE,
        Reason.ROLES_MISSING,
        Reason.DEPENDENTS_IN_THE_WAY,
        Reason.SAFETY_BACKUP_FAILED,
        Reason.RESTORE_FAILED,
        Reason.CHECK_FAILED,
        Reason.ALREADY_STARTED,
    }
)
"""Reasons that only a restore has; a backup never ends with one."""
