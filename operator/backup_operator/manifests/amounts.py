"""Room `manifests`: amounts of CPU, memory and bytes as Kubernetes writes them; called by `.compare` and `.restore`.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
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


def amount(value: Any) -> Decimal | None:
    """The number that it stands for: `1Gi` is 1073741824, `250m` is 0.25; None for what is no amount."""
    match = _AMOUNT.fullmatch(str(value)) if isinstance(value, str | int) else None
    if match is None:
        return None
    try:
        return Decimal(str(match[1])) * _UNITS[match[2]]
    except ArithmeticError:
        return None
