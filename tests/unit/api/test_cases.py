"""The models and the operator's verdict, on the table of cases that the API server is held to as well."""

from typing import Any

import pytest
from pydantic import ValidationError

from backup_operator.api.backuppolicy import BackupPolicySpec
from backup_operator.api.parts import Part, broken_transitions
from backup_operator.api.restorerequest import RestoreRequestSpec
from backup_operator.api.words import describe
from backup_operator.rules.admission import judge
from tests.unit.api.cases import CASES as POLICY_CASES
from tests.unit.api.cases import Case, Door
from tests.unit.api.restore_cases import RESTORES

CASES = (*POLICY_CASES, *RESTORES)

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


def parts_of(model: type[Part]) -> set[type[Part]]:
    """The model and every part in it."""
    found = {model}
    for field in model.model_fields.values():
        found |= {part for inner in parts_in(field.annotation) for part in parts_of(inner)}
    return found


def parts_in(annotation: Any) -> list[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return [annotation]
    return [part for inner in getattr(annotation, "__args__", ()) for part in parts_in(inner)]


def test_every_rule_has_a_case_that_it_refuses():
    answers = " ".join(answer_of_the_model(case) for case in CASES if case.words and case.door is Door.BOTH)
    parts = {part for model in MODELS.values() for part in parts_of(model)}
    messages = {rule.message for part in parts for rule in part.rules}
    messages |= {rule.message for part in parts for rule in part.transitions}

    assert len(messages) > 20
    assert sorted(message for message in messages if message not in answers) == []
