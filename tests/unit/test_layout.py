"""The layout's promise: a directory called `operator` never shadows the standard library."""

import operator
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_import_operator_is_still_the_standard_library():
    assert Path(operator.__file__).parent == Path(sysconfig.get_path("stdlib"))
    assert operator.add(1, 2) == 3


def test_the_operator_directory_holds_no_python_directly():
    assert [path.name for path in (ROOT / "operator").glob("*.py")] == []
