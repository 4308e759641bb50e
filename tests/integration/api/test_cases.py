"""The CEL rules of the CRDs on a real API server, on the table of cases that the models are held to as well."""

import copy

import pytest

from tests.integration.api.conftest import Server
from tests.unit.api.cases import CASES as POLICY_CASES
from tests.unit.api.cases import Case, Door
from tests.unit.api.restore_cases import RESTORES

CASES = (*POLICY_CASES, *RESTORES)


def refusal_of_the_server(server: Server, case: Case) -> str:
    """What the API server says; empty when it accepts. Nothing is stored but the object that an edit begins with."""
    collection = server.collection(case.kind)
    if case.old is None:
        manifest = server.manifest(case.kind, case.spec)
        return server.ask("POST", collection, manifest, dryRun="All", fieldValidation="Strict").refusal
    changed = {**copy.deepcopy(server.create(case.kind, case.old)), "spec": case.spec}
    path = f"{collection}/{changed['metadata']['name']}"
    return server.ask("PUT", path, changed, dryRun="All", fieldValidation="Strict").refusal


@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.words or case.door is Door.OPERATOR], ids=lambda case: case.id
)
def test_the_server_accepts(server: Server, case: Case):
    assert refusal_of_the_server(server, case) == ""


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.words and case.door is Door.BOTH], ids=lambda case: case.id
)
def test_the_server_refuses_in_these_words(server: Server, case: Case):
    refusal = refusal_of_the_server(server, case)

    assert [words for words in case.words if words not in refusal] == [], refusal


def test_an_unknown_field_is_refused_when_it_is_typed(server: Server):
    manifest = server.manifest("BackupPolicy", {**CASES[0].spec, "shedule": "0 2 * * *"})

    answer = server.ask("POST", server.collection("BackupPolicy"), manifest, dryRun="All", fieldValidation="Strict")

    assert 'unknown field "spec.shedule"' in answer.refusal
