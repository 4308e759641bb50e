"""The models and the operator's verdict, on the table of cases that the API server is held to as well."""

from typing import Any

import pytest
from pydantic import ValidationError

from backup_operator.api.backuppolicy import BackupPolicySpec
from backup_operator.api.parts import Part, broken_transitions
from backup_operator.api.restorerequest import RestoreRequestSpec
from backup_operator.api.words import describe
from backup_operator.rules.admission import judge
from tests.unit.api.cases import CASES, Case, Door

MODELS: dict[str, type[Part]] = {"BackupPolicy": BackupPolicySpec, "RestoreRequest": RestoreRequestSpec}


def answer_of_the_model(case: Case) -> str:
    """What the model says; empty when it accepts."""
    model = MODELS[case.kind]
    try:
        spec = model.model_validate(case.spec)
        return "; ".join(broken_transitions(spec, model.model_validate(case.old))) if case.old else ""
    except ValidationError as exc:
        return describe(exc, "bp")


def verdict_on(case: Case) -> Any:
    return judge(BackupPolicySpec.model_validate(case.spec), mine=None, neighbours=())


@pytest.mark.parametrize("case", [case for case in CASES if not case.words], ids=lambda case: case.id)
def test_the_model_accepts(case: Case):
    assert answer_of_the_model(case) == ""
    if case.kind == "BackupPolicy":
        assert verdict_on(case).accepted


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.words and case.door is Door.BOTH], ids=lambda case: case.id
)
def test_the_model_refuses_in_these_words(case: Case):
    answer = answer_of_the_model(case)

    assert [words for words in case.words if words not in answer] == [], answer


@pytest.mark.parametrize("case", [case for case in CASES if case.door is Door.OPERATOR], ids=lambda case: case.id)
def test_the_operator_refuses_in_these_words_what_the_model_takes(case: Case):
    assert answer_of_the_model(case) == ""

    verdict = verdict_on(case)

    assert not verdict.accepted
    assert [words for words in case.words if words not in verdict.message] == [], verdict.message


def test_every_case_has_a_sentence_of_its_own():
    ids = [case.id for case in CASES]

    assert sorted(ids) == sorted(set(ids))
