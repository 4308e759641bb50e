"""What the operator does not load before it needs it."""

import subprocess
import sys


def test_apprise_is_not_loaded_before_there_is_a_notice():
    code = "import sys, backup_operator.controller.engine; sys.exit('apprise' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
