"""Room `rules`: whether it is known what retention would delete; pure. Called by `controller.policies`."""

from backup_operator.api.backuppolicy import BackupPolicyStatus
from backup_operator.contract.order import RetentionOrder


def effect_is_unknown(status: BackupPolicyStatus, rules: RetentionOrder) -> bool:
    """Whether the store should be read to say what these rules would delete, before the next run does.

    So after an edit of the rules, and in a dry run of which nothing is known. An upgrade of the operator asks for
    nothing: rules that never spoke have changed nothing. An empty store has nothing to lose,
    and what could not be told once is not asked for again and again.
    """
    if not status.backup_count:
        return False
    known = status.retention
    if known is None:
        return rules.dry_run
    is_dry_and_unseen = rules.dry_run and known.preview is None and not known.stopped
    return known.rules_digest != rules.digest or is_dry_and_unseen
