"""Every manifest of ours that README and demo show is one that models and API server take, field for field."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from backup_operator.api.meta import API_VERSION
from backup_operator.rules.admission import judge_policy, judge_restore_request
from tests.integration.api.conftest import Server
from tests.support.readme import blocks

DEMO = Path(__file__).resolve().parents[2] / "demo"
TEXTS = [block.text for block in blocks() if block.language == "yaml" and API_VERSION in block.text]
TEXTS += [path.read_text() for path in sorted(DEMO.glob("*.yaml"))]
SHOWN: list[dict[str, Any]] = [
    document for text in TEXTS for document in yaml.safe_load_all(text) if document["apiVersion"] == API_VERSION
]
DOCUMENTS = [pytest.param(one, id=f"{one['kind']} {one['metadata']['name']}") for one in SHOWN]


def test_both_kinds_are_shown():
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
