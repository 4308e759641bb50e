"""Room `api`: what models are made of: parts, rules and formats; imported by the other modules of this room.

A `Rule` is written once and judged twice: its CEL goes into the CRD, its predicate into the model's validator.
A `Format` is the same for one string. Both say what was found, what is expected, and what to type.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class Rule:
    """A sentence about an object; `holds` sees the model, `cel` the same object in the API server."""

    cel: str
    message: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Transition:
    """A sentence about an edit; `holds` sees the new model, then the old one."""

    cel: str
    message: str
    holds: Callable[[Any, Any], bool]


@dataclass(frozen=True)
class Format:
    """How a string must look, as an annotation; `pattern` is RE2 and Python at once and covers the whole string."""

    pattern: str
    expected: str
    example: str
    max_length: int = 253
    forbidden: str = ""
    """A second pattern that must not be found anywhere in it."""

    def check(self, text: str) -> str:
        """The text itself. Raises: ValueError in words."""
        fits = len(text) <= self.max_length and re.fullmatch(self.pattern, text)
        if not fits or (self.forbidden and re.search(self.forbidden, text)):
            raise ValueError(f'found "{text[: self.max_length]}"; {self._advice}')
        return text

    def schema(self) -> dict[str, Any]:
        """The string's part of a CRD."""
        expression = f"self.matches({cel_text(f'^({self.pattern})$')})"
        if self.forbidden:
            expression += f" && !self.matches({cel_text(self.forbidden)})"
        found, advice = cel_text('found "'), cel_text(f'"; {self._advice}')
        rule = {"rule": expression, "message": self._advice, "messageExpression": f"{found} + self + {advice}"}
        return {"type": "string", "maxLength": self.max_length, "x-kubernetes-validations": [rule]}

    def schema_of_number_or_text(self) -> dict[str, Any]:
        """The part of a CRD where whole numbers are taken beside strings."""
        schema = self.schema()
        (rule,) = schema.pop("x-kubernetes-validations")
        rule = {**rule, "rule": f"type(self) == int || {rule['rule']}"}
        rule["messageExpression"] = rule["messageExpression"].replace("+ self +", "+ string(self) +")
        del schema["type"]
        either = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
        return {**either, **schema, "x-kubernetes-validations": [rule]}

    @property
    def _advice(self) -> str:
        return f"expected {self.expected}; write for example {self.example}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The string, checked."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The string with its sentence."""
        return self.schema()


def cel_text(text: str) -> str:
    """The text as a CEL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def exactly_one_of(*fields: str) -> Rule:
    """Exactly one of these fields is set."""
    names = [to_camel(field) for field in fields]
    listed = " and ".join([", ".join(names[:-1]), names[-1]])
    return Rule(
        cel=" + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names) + " == 1",
        message=f"exactly one of {listed} is expected; write one of them and leave the others out",
        holds=lambda part: sum(getattr(part, field) is not None for field in fields) == 1,
    )


class Part(BaseModel):
    """A part of a spec: frozen, without unknown fields, its rules judged when it is read."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )
    rules: ClassVar[tuple[Rule, ...]] = ()
    transitions: ClassVar[tuple[Transition, ...]] = ()

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        broken = [rule.message for rule in type(self).rules if not rule.holds(self)]
        if broken:
            raise ValueError("; ".join(broken))
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema of the fields, and the rules beside them."""
        schema = handler.resolve_ref_schema(handler(core))
        sentences: tuple[Rule | Transition, ...] = (*cls.rules, *cls.transitions)
        if sentences:
            schema["x-kubernetes-validations"] = [{"rule": one.cel, "message": one.message} for one in sentences]
        return schema


def broken_transitions(new: Part, old: Part, path: str = "spec") -> list[str]:
    """What is wrong with this edit, one sentence each with its path; empty when it is allowed."""
    broken = [f"{path}: {rule.message}" for rule in type(new).transitions if not rule.holds(new, old)]
    for name, field in type(new).model_fields.items():
        ours, theirs = getattr(new, name), getattr(old, name)
        if isinstance(ours, Part) and isinstance(theirs, Part):
            broken += broken_transitions(ours, theirs, f"{path}.{field.alias}")
    return broken


class StatusPart(BaseModel):
    """A part of a status: written by the operator; fields of another version are passed over when it is read."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )

    @classmethod
    def in_object(cls, raw: Mapping[str, Any]) -> Self:
        """The status of an object as the API server gives it, but for fields that another version wrote otherwise."""
        fields = dict(raw.get("status") or {})
        try:
            return cls.model_validate(fields)
        except ValidationError as exc:
            unreadable = {fault["loc"][0] for fault in exc.errors()}
        return cls.model_validate({name: fields[name] for name in fields if name not in unreadable})

    def wire(self) -> dict[str, Any]:
        """As JSON for the API server: camelCase, nothing that is unknown or empty."""
        fields = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {name: value for name, value in fields.items() if value not in ([], {}, "")}
