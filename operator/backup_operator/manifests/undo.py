"""Room `manifests`: the one manifest that brings back what a restore overwrote; called by `controller.restores`."""

from typing import Any

import yaml

from backup_operator.api.meta import API_VERSION
from backup_operator.api.restorerequest import KIND, RestoreRequest
from backup_operator.rules.short_names import short_name
from backup_operator.vocabulary.choices import PostgresStrategy, RedisStrategy

_NAME_LIMIT = 253
_STAMP_DIGITS = 15
"""Of `safety_YYYYMMDD_HHMMSS`: a request that is made again gets an undo of another name."""
_WIDTH = 1000
"""No value of a request is so long that its line would be folded."""


def undo_lines(request: RestoreRequest, safety_backup: str) -> tuple[str, ...]:
    """The manifest as lines of YAML."""
    return tuple(yaml.safe_dump(undo_manifest(request, safety_backup), sort_keys=False, width=_WIDTH).splitlines())


def undo_manifest(request: RestoreRequest, safety_backup: str) -> dict[str, Any]:
    """A RestoreRequest of the safety backup to the same target, in place of what is there, and not backed up again."""
    metadata, spec = request.metadata, request.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    suffix = f"-undo-{safety_backup[-_STAMP_DIGITS:].replace('_', '-')}"
    name = short_name(metadata.name, _NAME_LIMIT - len(suffix)) + suffix
    kept = {field: spec[field] for field in ("job",) if field in spec}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": metadata.namespace},
        "spec": {
            "from": spec["from"],
            "backup": {"name": safety_backup},
            "target": _target(spec["target"]),
            "confirm": spec.get("confirm", ""),
            "safetyBackup": False,
            **kept,
        },
    }


def _target(target: dict[str, Any]) -> dict[str, Any]:
    if "postgres" in target:
        options = {name: value for name, value in target["postgres"].items() if name not in ("globals", "jobs")}
        # what the restore brought hangs on what the safety backup holds, and is not in that
        return {"postgres": {**options, "strategy": PostgresStrategy.IN_PLACE.value, "dropDependents": True}}
    options = {name: value for name, value in target["redis"].items() if name != "existing"}
    return {"redis": {**options, "strategy": RedisStrategy.REPLACE.value}}
