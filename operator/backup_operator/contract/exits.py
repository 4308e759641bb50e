"""Room `contract`: exit codes of a worker, on which `manifests.job` builds podFailurePolicy."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit code of a worker. The Job retries RETRYABLE ones and gives up on FINAL ones at once."""

    OK = 0
    RETRYABLE = 10
    FINAL = 20
