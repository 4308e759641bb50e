"""The files that are there before any cluster is: locked requirements, the Makefile's promises."""

import re
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-build.lock")


def locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ ;\\]+)", (CHECKOUT / name).read_text(), re.MULTILINE))


def named(requirements: list[str]) -> set[str]:
    return {re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!;~ ]", requirement)[0]).lower() for requirement in requirements}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_index_and_no_path(name: str):
    assert re.findall(r"https?://|file:|--(?:extra-)?index|--find-links| @ ", (CHECKOUT / name).read_text()) == []


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_requirement_has_a_hash(name: str):
    entries = re.split(r"\n(?=[a-z])", (CHECKOUT / name).read_text().strip())

    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_locks_hold_all_that_the_project_asks_for():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]

    assert named(project["dependencies"]) <= set(locked("requirements.lock"))
    assert named(project["optional-dependencies"]["dev"]) <= set(locked("requirements-dev.lock"))


def test_the_tests_run_with_what_the_images_hold():
    development = locked("requirements-dev.lock")

    assert {name: development.get(name) for name in locked("requirements.lock")} == locked("requirements.lock")


@pytest.mark.parametrize(
    "verb",
    [
        *("demo", "test", "lint", "cluster", "images", "install", "test-unit", "test-integration", "test-e2e"),
        *("bench", "crds", "lock", "down", "help"),
    ],
)
def test_every_verb_is_explained_by_make_help(verb: str):
    assert re.search(rf"^{verb}:.*## \S", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)


def test_neither_image_contains_a_package_index():
    stages = re.split(r"(?m)^FROM ", (CHECKOUT / "operator" / "Dockerfile").read_text())
    with_index = {re.search(r"AS (\w+)", stage)[1] for stage in stages[1:] if "ARG PIP_" in stage}  # type: ignore[index]  # every stage has a name
    shipped = {stage.split(" ")[0] for stage in stages[1:] if re.search(r"AS (operator|backup)\b", stage)}

    assert with_index == {"environment"}
    assert not with_index & shipped
