"""Room `manifests`: whether an object is still as we want it; called by `controller.policies` before each apply.

The API server fills defaults in, so a wish is fulfilled when everything in it is found in the object. Amounts are
compared by value: the server writes `1000m` as `1`.
"""

import re
from decimal import Decimal
from typing import Any

_AMOUNT = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E)?")
_UNITS: dict[str | None, Decimal] = {
    None: Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{unit: Decimal(10) ** (3 * power) for power, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}


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


def _same_amount(found: Any, wanted: Any) -> bool:
    one, other = _amount(found), _amount(wanted)
    return one is not None and one == other


def _amount(value: Any) -> Decimal | None:
    match = _AMOUNT.fullmatch(str(value)) if isinstance(value, str | int) else None
    if match is None:
        return None
    try:
        return Decimal(str(match[1])) * _UNITS[match[2]]
    except ArithmeticError:
        return None
