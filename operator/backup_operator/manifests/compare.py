"""Room `manifests`: whether an object is still as we want it; called by `controller.policies` before each apply.

The API server fills defaults in, so a wish is fulfilled when everything in it is found in the object. Amounts are
compared by value: the server writes `1000m` as `1`.
"""

import json
from collections.abc import Mapping
from typing import Any

from backup_operator.manifests.amounts import amount


def is_as_wanted(found: Any, wanted: Any) -> bool:
    """Whether everything that is wanted is found; lists must be equally long, fields beside the wanted do not count."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_field_is_as_wanted(found, name, wanted[name]) for name in wanted)
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(is_as_wanted(one, other) for one, other in zip(found, wanted, strict=True))
        )
    return bool(found == wanted) or _same_amount(found, wanted)


def _field_is_as_wanted(found: dict[str, Any], name: str, wanted: Any) -> bool:
    """An empty value, or false, is the same as none: the server leaves it out."""
    return is_as_wanted(found[name], wanted) if name in found else wanted in ({}, [], "", False, None)


def is_added_to(found: Mapping[str, Any], wanted: Mapping[str, Any], *, by_others_than: str) -> bool:
    """Whether a field manager other than ours keeps something in the object's spec that is not wanted there.

    An environment variable or a node selector, for example: what the server fills in by itself has no such owner.
    Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
    """
    entries = found["metadata"].get("managedFields", [])
    others = [entry for entry in entries if entry.get("manager") != by_others_than and not entry.get("subresource")]
    return any(_adds(entry.get("fieldsV1", {}).get("f:spec", {}), wanted["spec"]) for entry in others)


def _adds(fields: Mapping[str, Any], wanted: Any) -> bool:
    """Whether a set of owned fields holds one that is not wanted."""
    return any(_part_is_added(step, below, wanted) for step, below in fields.items() if step != ".")


def _part_is_added(step: str, below: Mapping[str, Any], wanted: Any) -> bool:
    kind, _, name = step.partition(":")
    if kind == "f":
        return not isinstance(wanted, dict) or name not in wanted or _adds(below, wanted[name])
    if kind == "k":
        keys = json.loads(name)
        chosen = [one for one in wanted if keys.items() <= one.items()] if isinstance(wanted, list) else []
        return not chosen or _adds(below, chosen[0])
    return not isinstance(wanted, list) or json.loads(name) not in wanted


def _same_amount(found: Any, wanted: Any) -> bool:
    one, other = amount(found), amount(wanted)
    return one is not None and one == other
