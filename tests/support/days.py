"""Runs of many days within one Job, each with the worker's clock moved. Used by the end-to-end tests.

The Job is the policy's own, made from its CronJob; in place of one `backup-worker` its container starts one after the
other, real runs all of them, and its report is the last one's.
"""

from collections.abc import Callable, Iterable
from typing import Any

from tests.support.policies import Change

DAY_SECONDS = 86_400
_LOOP = """
import os, subprocess, sys
argv, offsets = sys.argv[1].split(), sys.argv[2].split()
for offset in offsets:
    environment = os.environ | {"BACKUP_CLOCK_OFFSET_SECONDS": offset}
    code = subprocess.run(["backup-worker", *argv], env=environment).returncode
sys.exit(code)
"""


def runs_on_days(days: Iterable[int], *, also: Change | None = None) -> Callable[[dict[str, Any]], None]:
    """A change for `Policy.start`: one run on each of these days, counted from today (0), -40 is 40 days ago.

    `also` changes the Job after that. The Job ends as the last run does.
    """
    offsets = " ".join(str(day * DAY_SECONDS) for day in days)

    def change(job: dict[str, Any]) -> None:
        container = job["spec"]["template"]["spec"]["containers"][0]
        container["args"] = ["-c", _LOOP, " ".join(container["args"]), offsets]
        container["command"] = ["python3"]
        job["spec"]["backoffLimit"] = 0
        if also is not None:
            also(job)

    return change
