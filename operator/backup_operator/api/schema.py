"""Room `api`: the CustomResourceDefinitions, generated from the models; called by `make crds` and by the tests.

`python -m backup_operator.api.schema` writes `crds/` and the chart's copies; `--check` compares them.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from backup_operator.api import backuppolicy, restorerequest
from backup_operator.api.meta import GROUP, VERSION, format_duration
from backup_operator.api.parts import Part

ROOT = Path(__file__).resolve().parents[3]
_GENERATED = "# Generated from operator/backup_operator/api by `python -m backup_operator.api.schema`; do not edit.\n"
_DROPPED = ("title", "additionalProperties")
_FIRST = ("description", "type", "default", "enum", "required")


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`; a date is shown as an age; priority 1 is shown with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0

    def as_dict(self) -> dict[str, object]:
        """As the CRD has it."""
        column: dict[str, object] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        return {**column, "priority": self.priority} if self.priority else column


@dataclass(frozen=True)
class Resource:
    """A kind and how it is called."""

    model: type[BaseModel]
    kind: str
    plural: str
    short_name: str
    columns: tuple[Column, ...]


def _condition(name: str) -> str:
    return f'.status.conditions[?(@.type=="{name}")].status'


RESOURCES = (
    Resource(
        backuppolicy.BackupPolicy,
        backuppolicy.KIND,
        backuppolicy.PLURAL,
        "bp",
        (
            Column("Source", ".status.source"),
            Column("Schedule", ".spec.schedule"),
            Column("Backups", ".status.backupCount", "integer"),
            Column("Last Good", ".status.lastSuccessfulBackup.startedAt", "date"),
            Column("Limit", ".spec.objectives.rpo"),
            Column("Size", ".status.size"),
            Column("Next", ".status.nextBackupAt"),
            Column("Fresh", _condition("Fresh")),
            Column("Ready", ".status.ready"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Retention", ".status.keeps", priority=1),
            Column("Used", ".status.used", priority=1),
            Column("Last Drill", ".status.lastDrill.startedAt", "date", 1),
            Column("Message", ".status.message", priority=1),
        ),
    ),
    Resource(
        restorerequest.RestoreRequest,
        restorerequest.KIND,
        restorerequest.PLURAL,
        "rr",
        (
            Column("From", ".status.source"),
            Column("Backup", ".status.backup"),
            Column("Target", ".status.target"),
            Column("State", ".status.state"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Message", ".status.message", priority=1),
        ),
    ),
)


class _DefaultsAsUsersWriteThem(GenerateJsonSchema):
    """Writes a span as `30d`, and a part whose fields all have defaults as `{}`, which the API server fills."""

    def encode_default(self, dft: Any) -> Any:
        """The default as JSON."""
        if isinstance(dft, timedelta):
            return format_duration(dft)
        return {} if isinstance(dft, Part) else super().encode_default(dft)


def custom_resource_definition(resource: Resource) -> dict[str, Any]:
    """The CRD of one kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [resource.short_name],
                "categories": ["backups"],
            },
            "scope": "Namespaced",
            "versions": [_version(resource)],
        },
    }


def _version(resource: Resource) -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [column.as_dict() for column in resource.columns],
        "schema": {"openAPIV3Schema": openapi_schema(resource.model)},
    }


def openapi_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of a kind, with spec and status and the words of `kubectl explain`."""
    generated = model.model_json_schema(by_alias=True, schema_generator=_DefaultsAsUsersWriteThem)
    properties = generated["properties"]
    parts = {name: _structural(properties[name], generated["$defs"]) for name in ("spec", "status")}
    parts["status"] = _without_defaults(parts["status"])
    return {
        "description": generated["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {**_OBJECT_PROPERTIES, **parts},
    }


def _without_defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a status: what the operator does not know, the API server does not fill in."""
    kept = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in kept:
        kept["properties"] = {name: _without_defaults(field) for name, field in kept["properties"].items()}
    return {**kept, "items": _without_defaults(kept["items"])} if "items" in kept else kept


_OBJECT_PROPERTIES: dict[str, Any] = {
    "apiVersion": {"description": "The version of this schema.", "type": "string"},
    "kind": {"description": "The kind of the object.", "type": "string"},
    "metadata": {"type": "object"},
}


def _structural(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as the API server wants it: no references, no nulls, no titles."""
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _structural({**target, **beside}, definitions)
    if "anyOf" in schema and "x-kubernetes-int-or-string" not in schema:
        return _without_null(schema, definitions)
    items = dict(_structural_items(schema, definitions))
    first = {key: items[key] for key in _FIRST if key in items}
    return {**first, **items}


def _without_null(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """An optional field: what is left of anyOf when null is taken out."""
    (choice,) = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
    beside = {key: value for key, value in schema.items() if key != "anyOf"}
    return _structural({**choice, **beside}, definitions)


def _structural_items(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in schema.items():
        if key == "properties":
            yield key, {name: _structural(field, definitions) for name, field in value.items()}
        elif key == "items" or (key == "additionalProperties" and isinstance(value, Mapping)):
            yield key, _structural(value, definitions)
        elif key == "const":
            yield "enum", [value]
        elif key not in _DROPPED and not _is_empty_default(key, value):
            yield key, value


def _is_empty_default(key: str, value: object) -> bool:
    """Whether this default says nothing: null, an empty list, or an empty text."""
    return key == "default" and value in (None, [], "")


def as_yaml(definition: Mapping[str, Any]) -> str:
    """The definition as YAML; always the same text for the same models."""
    import yaml

    # a copy through JSON holds no object twice, so that YAML has no anchors
    plain = json.loads(json.dumps(definition))
    return _GENERATED + yaml.safe_dump(plain, sort_keys=False, width=120, allow_unicode=True)


def as_template(definition: Mapping[str, Any]) -> str:
    """The definition as a template of the chart: kept on uninstall, upgraded with the chart."""
    metadata = {**definition["metadata"], "annotations": {"helm.sh/resource-policy": "keep"}}
    text = as_yaml({**definition, "metadata": metadata})
    if "{{" in text:
        raise ValueError("a description holds '{{', which Helm would take for its own")
    return '{{- if dig "install" true (.Values.crds | default dict) }}\n' + text + "{{- end }}\n"


def generated_files() -> dict[str, str]:
    """Every generated file: its path below the root of the project, and its text."""
    files = {}
    for resource in RESOURCES:
        definition = custom_resource_definition(resource)
        files[f"crds/{resource.plural}.yaml"] = as_yaml(definition)
        files[f"charts/backup-operator/templates/crds/{resource.plural}.yaml"] = as_template(definition)
    return files


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with --check compare them; 1 when one differs."""
    parser = argparse.ArgumentParser(prog="python -m backup_operator.api.schema", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when a file is not up to date")
    parser.add_argument("--root", type=Path, default=ROOT, help="root of the project")
    options = parser.parse_args(arguments)
    stale = [(options.root / path, text) for path, text in generated_files().items()]
    stale = [(path, text) for path, text in stale if not path.exists() or path.read_text() != text]
    for path, text in stale:
        sys.stdout.write(
            f"{path.relative_to(options.root)}: {'differs from the models' if options.check else 'written'}\n"
        )
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if stale and options.check:
        sys.stderr.write("hint: run `python -m backup_operator.api.schema` and commit what it writes\n")
    return int(bool(stale and options.check))


if __name__ == "__main__":
    sys.exit(main())
