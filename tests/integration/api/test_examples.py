"""Every manifest of ours that the README shows is one that models and API server take, field for field."""

from typing import Any

import pytest
import yaml

from backup_operator.api.meta import API_VERSION
from backup_operator.rules.admission import judge_policy, judge_restore_request
from tests.integration.api.conftest import Server
from tests.support.readme import blocks

SHOWN: list[dict[str, Any]] = [
    document
    for block in blocks()
    if block.language == "yaml" and API_VERSION in block.text
    for document in yaml.safe_load_all(block.text)
    if document["apiVersion"] == API_VERSION
]
DOCUMENTS = [pytest.param(one, id=f"{one['kind']} {one['metadata']['name']}") for one in SHOWN]


def test_the_readme_shows_both_kinds():
    assert {document["kind"] for document in SHOWN} == {"BackupPolicy", "RestoreRequest"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_server_takes_the_manifest_as_it_is_printed(server: Server, document: dict[str, Any]):
    manifest = server.manifest(document["kind"], document["spec"])

    answer = server.ask("POST", server.collection(document["kind"]), manifest, dryRun="All", fieldValidation="Strict")

    assert answer.refusal == ""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_operator_accepts_the_manifest(document: dict[str, Any]):
    raw = {**document, "metadata": {"namespace": "production", **document["metadata"]}}

    if document["kind"] == "BackupPolicy":
        _, verdict = judge_policy(raw, neighbours=())
    else:
        _, verdict = judge_restore_request(raw)

    assert verdict.accepted, verdict.message
