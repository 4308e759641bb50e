"""The generated CRDs: up to date, structural, explained, and without defaults for what is not built yet."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from backup_operator.api.schema import RESOURCES, ROOT, custom_resource_definition, generated_files, main

DEFINITIONS = [pytest.param(custom_resource_definition(resource), id=resource.kind) for resource in RESOURCES]


def schema_of(definition: dict[str, Any]) -> dict[str, Any]:
    return dict(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of the schema with its path."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
        yield from fields(field.get("items", {}), f"{path}.{name}[]")


@pytest.mark.parametrize("path", sorted(generated_files()))
def test_the_generated_file_is_up_to_date(path: str):
    assert (ROOT / path).read_text() == generated_files()[path], "run `python -m backup_operator.api.schema`"


def test_the_generator_writes_once_and_then_finds_nothing_to_do(tmp_path, capsys):
    arguments = ["--root", str(tmp_path)]

    assert main([*arguments, "--check"]) == 1
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 0
    assert capsys.readouterr().out.count("written") == len(generated_files())


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_every_field_is_explained(definition: dict[str, Any]):
    silent = [path for path, field in fields(schema_of(definition)) if not field.get("description")]

    assert silent == [".metadata"]  # the API server explains that one


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_default_is_said_in_the_words_of_its_field(definition: dict[str, Any]):
    unsaid = [
        path
        for path, field in fields(schema_of(definition))
        if field.get("default") not in (None, {}) and "Default: " not in field["description"]
    ]

    assert unsaid == []


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_no_field_of_a_later_release_has_a_default(definition: dict[str, Any]):
    defaults = {path: field["default"] for path, field in fields(schema_of(definition)) if "default" in field}

    assert defaults == (
        {
            ".spec.source.postgres.format": "Plain",
            ".spec.source.postgres.globals": False,
            ".spec.source.postgres.schemas": {},
            ".spec.source.postgres.tables": {},
            ".spec.source.postgres.profile": "Auto",
            ".spec.source.postgres.tls": {},
            ".spec.source.redis.method": "Auto",
            ".spec.source.redis.tls": {},
            ".spec.timeZone": "Etc/UTC",
            ".spec.suspend": False,
            ".spec.compression": {},
            ".spec.compression.algorithm": "Gzip",
            ".spec.objectives": {},
            ".spec.objectives.rpo": "25h",
            ".spec.checks[].redis.database": 0,
            ".spec.checks[].http.status": 200,
            ".spec.job": {},
            ".spec.job.deadline": "6h",
            ".spec.job.resources": {},
            ".spec.job.backoffLimit": 2,
            ".spec.retention": {},
            ".spec.retention.dryRun": False,
            ".spec.storage.claimTemplate.accessModes": ["ReadWriteOnce"],
        }
        if definition["spec"]["names"]["kind"] == "BackupPolicy"
        else {".spec.checks[].redis.database": 0, ".spec.checks[].http.status": 200}
    )


def test_the_charts_copy_is_kept_on_uninstall_and_can_be_left_out():
    for resource in RESOURCES:
        template = generated_files()[f"charts/backup-operator/templates/crds/{resource.plural}.yaml"]
        first, *lines, last = template.splitlines()

        assert (first, last) == ('{{- if dig "install" true (.Values.crds | default dict) }}', "{{- end }}")
        copy = yaml.safe_load("\n".join(lines))
        assert copy["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert copy == yaml.safe_load(generated_files()[f"crds/{resource.plural}.yaml"])
