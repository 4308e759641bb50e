"""How pytest-xdist shares out the integration tests: file by file, and what needs a quiet cluster on one worker.

The tests of `controller` scale the installed operator, start operators of all namespaces and read the API server's own
counters: two of their files at once disturb each other. Everything else keeps to servers and namespaces of its own.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped] # xdist has no types
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped] # xdist has no types

HERE = Path(__file__).resolve().parent
ONE_AFTER_ANOTHER = HERE / "controller"
"""A directory whose tests all run on one worker, one file after another."""
LONGEST_FIRST = (
    *("controller/", "targets/postgres/test_killed.py", "targets/postgres/test_damaged.py", "stages/test_gpg.py"),
    *("targets/postgres/test_surroundings.py", "targets/postgres/test_new_database.py", "postgres/test_dumps.py"),
    *("targets/postgres/test_traps.py", "targets/redis/test_kills.py", "worker/"),
)
"""What takes longest, by how the paths below this directory begin: begun last, it would keep one worker to itself."""


def _turn(item: pytest.Item) -> int:
    """Which place of LONGEST_FIRST a test has; the one behind the last for all others."""
    path = item.path.as_posix().removeprefix(f"{HERE.as_posix()}/")
    return next((place for place, start in enumerate(LONGEST_FIRST) if path.startswith(start)), len(LONGEST_FIRST))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest first."""
    items.sort(key=_turn)


class QuietClusterTogether(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Hands out files whole, and the directory that needs the cluster for itself as one piece of work."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        directory = ONE_AFTER_ANOTHER.relative_to(self.config.rootpath).as_posix()
        return directory if file.startswith(f"{directory}/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> QuietClusterTogether:
    """Takes the place of --dist, however many workers there are; files stay in the order of collection."""
    config.option.loadscopereorder = False
    return QuietClusterTogether(config, log)


@pytest.fixture
def public_place() -> Iterator[Path]:
    """A directory that every user of this machine reaches and may write to; pytest's own are closed to servers."""
    with tempfile.TemporaryDirectory(prefix="public-") as made:
        Path(made).chmod(0o777)
        yield Path(made)
