"""Nothing in the README is only said: every block has its check, every word of the vocabulary its line."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from backup_operator.vocabulary.conditions import ConditionType, RestoreConditionType
from backup_operator.vocabulary.notifications import NotificationKind
from backup_operator.vocabulary.reasons import MEANING, Reason
from backup_operator.worker.sources.redis_faults import LEAST_COMMANDS
from backup_operator.worker.targets.redis_probe import RARE_COMMANDS, RESTORE_COMMANDS
from tests.demo import commands
from tests.support.operator import INSTALL
from tests.support.readme import README, Block, blocks, with_tables

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/backup-operator"
MAKEFILE = (ROOT / "Makefile").read_text()
CHECKS = {"make", "build", "demo", "environment", "acl", "worker", "values"}
"""`worker` is checked by tests/integration/worker/test_by_hand.py, the others here."""
CHECKS |= {"apply", "run", "open", "request", "restore", "recovery"}
"""By tests/e2e: test_readme.py, test_restore_readme.py and test_recovery.py."""


def test_every_block_says_how_it_is_checked():
    unchecked = [block for block in blocks() if block.check.split(" ")[0] not in CHECKS]
    assert unchecked == []
    assert {block.check.split(" ")[0] for block in blocks()} == CHECKS


def test_a_block_without_a_check_is_seen():
    assert blocks(text="text\n\n```sh\nrm -rf /\n```\n") == [Block("", "sh", "rm -rf /\n")]


@pytest.mark.parametrize("command", [line for block in blocks("make") for line in block.commands])
def test_a_make_command_is_a_verb_of_the_makefile(command):
    verb = command.removeprefix("make ")
    assert re.search(rf"^{re.escape(verb)}:.*## ", MAKEFILE, re.MULTILINE), f"{command}: no such verb"


def test_the_demo_types_the_commands_that_the_readme_says_it_does():
    typed = set(commands.every_command())
    assert [line for block in blocks("demo") for line in block.commands if line not in typed] == []


def test_demo_tests_and_makefile_install_the_chart_alike():
    in_makefile = re.search(r"^install:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert in_makefile
    words = in_makefile[1].replace("\\\n", " ").replace("$(NAMESPACE)", "backup-operator").split()
    assert words == commands.INSTALL.split() == list(INSTALL)


def test_the_images_are_built_from_the_dockerfile_s_targets():
    dockerfile = (ROOT / "operator/Dockerfile").read_text()
    targets = [re.search(r"--target (\S+)", line) for block in blocks("build") for line in block.commands]
    assert [found[1] for found in targets if found] == ["operator", "backup"]
    assert all(f" AS {found[1]}\n" in dockerfile for found in targets if found)


def test_the_environment_file_has_the_keys_that_the_policies_name():
    keys = {line.partition("=")[0] for block in blocks("environment") for line in block.commands}
    named = {key for block in blocks("apply") for key in re.findall(r"name: app, key: (\w+)", block.text)}
    assert keys == named


def test_the_rights_of_a_redis_user_are_those_that_the_worker_asks_for():
    (block,) = blocks("acl")
    asked = " ".join([*RESTORE_COMMANDS.values(), RARE_COMMANDS["7.0"], LEAST_COMMANDS])
    assert {word for word in shlex.split(block.text) if word.startswith("+")} == set(asked.split())


def test_the_tables_of_reasons_are_the_vocabulary_s():
    text = README.read_text()
    assert text == with_tables(text), "type `python -m tests.support.readme`"
    assert set(MEANING) == set(Reason)


def test_the_values_of_the_readme_are_the_chart_s():
    schema = json.loads((CHART / "values.schema.json").read_text())
    route = schema["definitions"]["route"]["properties"]
    (block,) = blocks("values")
    (part,) = yaml.safe_load(block.text).items()
    assert part[0] == "notifications"
    assert set(part[1]) <= set(yaml.safe_load((CHART / "values.yaml").read_text())["notifications"])
    for given in part[1]["routes"]:
        assert set(given) <= set(route)
        assert set(given.get("events", [])) <= {kind.value for kind in NotificationKind}


def test_every_value_that_the_readme_names_is_the_chart_s():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    named = re.findall(r"`((?:monitoring|worker)\.[\w.]+)`", README.read_text())
    assert named
    for path in named:
        part = values
        for word in path.split("."):
            assert word in part, path
            part = part[word]


def test_every_alert_and_every_kind_of_notice_is_named():
    alerts = re.findall(r"alert: (\w+)", (CHART / "alerts/backup-operator.yaml").read_text())
    text = README.read_text()
    table = text.partition("| alert | fires when |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == alerts
    assert [kind.value for kind in NotificationKind if f"`{kind.value}`" not in text] == []


def test_every_condition_is_explained():
    lines = set(re.findall(r"^\| `(\w+)` \|", README.read_text(), re.MULTILINE))
    assert {condition.value for condition in (*ConditionType, *RestoreConditionType)} <= lines
