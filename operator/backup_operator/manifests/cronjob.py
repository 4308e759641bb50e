"""Room `manifests`: the CronJob of a policy; called by `controller.policies`."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from backup_operator.manifests.job import Owner
from backup_operator.manifests.labels import POLICY_ANNOTATION, WISH_ANNOTATION, cronjob_name, policy_labels
from backup_operator.rules.short_names import digest

HISTORY_LIMIT = 3
"""Finished Jobs that stay, good and bad: those made by hand count too and must not push the newest out unread."""
_CATCH_UP_AT_LEAST = timedelta(minutes=10)
_CATCH_UP_AT_MOST = timedelta(hours=6)
_CATCH_UP_SHARE = 4


@dataclass(frozen=True)
class Timing:
    """When runs start: `schedule` in cron form, read in `time_zone` (an IANA name)."""

    schedule: str
    time_zone: str
    suspend: bool
    catch_up: timedelta
    """How late a missed run may still start."""


def catch_up_window(rpo: timedelta) -> timedelta:
    """A quarter of the freshness limit, from ten minutes to six hours: late is better than a day without a backup."""
    return min(max(rpo / _CATCH_UP_SHARE, _CATCH_UP_AT_LEAST), _CATCH_UP_AT_MOST)


def backup_cronjob(owner: Owner, timing: Timing, job_template: dict[str, Any]) -> dict[str, Any]:
    """The CronJob that starts a policy's runs.

    Its wish annotation changes with everything that is wanted: a field that is no longer wanted cannot be told from one
    that the server has added, so that without it, for example, a memory limit taken out of the chart would stay.
    """
    wanted = _backup_cronjob(owner, timing, job_template)
    wanted["metadata"]["annotations"][WISH_ANNOTATION] = digest(json.dumps(wanted, sort_keys=True))
    return wanted


def _backup_cronjob(owner: Owner, timing: Timing, job_template: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {
            "name": cronjob_name(owner.name),
            "namespace": owner.namespace,
            "labels": policy_labels(owner.name),
            "annotations": {POLICY_ANNOTATION: owner.name},
            "ownerReferences": [owner.reference()],
        },
        "spec": {
            "schedule": timing.schedule,
            "timeZone": timing.time_zone,
            "suspend": timing.suspend,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": int(timing.catch_up.total_seconds()),
            "successfulJobsHistoryLimit": HISTORY_LIMIT,
            "failedJobsHistoryLimit": HISTORY_LIMIT,
            "jobTemplate": job_template,
        },
    }
