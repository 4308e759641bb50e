"""Cached programs are found again by what they are made of, and a toolchain is only taken when it is the right one."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster import toolchain
from tests.cluster.errors import MachineLacks
from tests.cluster.places import Places, digest, digest_of_tree, places_of
from tests.cluster.programs import HELM, KUBECTL, KUBERNETES, NODE_PROGRAMS, PAUSE, Program, cache_key


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "pause").mkdir()
    (tmp_path / "pause" / "main.go").write_text("package main\n")
    return tmp_path


def test_the_same_inputs_give_the_same_key(sources: Path):
    assert cache_key(PAUSE, "amd64", sources) == cache_key(PAUSE, "amd64", sources)


@pytest.mark.parametrize(
    ("program", "architecture"),
    [
        pytest.param(PAUSE, "arm64", id="another processor"),
        pytest.param(replace(PAUSE, linker_flags="-X main.version=2"), "amd64", id="other linker flags"),
        pytest.param(replace(PAUSE, package="./other"), "amd64", id="another package"),
    ],
)
def test_another_input_gives_another_key(sources: Path, program: Program, architecture: str):
    assert cache_key(program, architecture, sources) != cache_key(PAUSE, "amd64", sources)


def test_an_edited_source_gives_another_key(sources: Path):
    before = cache_key(PAUSE, "amd64", sources)

    (sources / "pause" / "main.go").write_text("package main // edited\n")

    assert cache_key(PAUSE, "amd64", sources) != before


def test_a_renamed_source_gives_another_digest(sources: Path):
    before = digest_of_tree(sources)

    (sources / "pause" / "main.go").rename(sources / "pause" / "other.go")

    assert digest_of_tree(sources) != before


def test_programs_do_not_share_a_place():
    programs = {*NODE_PROGRAMS, KUBECTL, HELM, KUBERNETES}

    assert len({f"{program.name}-{cache_key(program, 'amd64')}" for program in programs}) == len(programs)


def test_words_do_not_run_into_each_other():
    assert digest(["ab", "c"]) != digest(["a", "bc"])


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param({"HOME": "/home/a"}, "/home/a/.cache/backup-operator", id="the home's cache"),
        pytest.param({"HOME": "/home/a", "XDG_CACHE_HOME": "/var/c"}, "/var/c/backup-operator", id="the user's choice"),
    ],
)
def test_the_cache_lies_where_the_user_has_caches(environment: dict[str, str], expected: str):
    assert places_of(Path("/src"), environment).cache == Path(expected)


def test_two_checkouts_have_two_names():
    first, second = Places(Path("/a"), Path("/c")), Places(Path("/b"), Path("/c"))

    assert first.name != second.name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("go version go1.26.8 linux/amd64", (1, 26), id="today's"),
        pytest.param("go version go1.19 linux/amd64", (1, 19), id="debian 12's"),
        pytest.param("gccgo (Debian 12) 12.2", (0, 0), id="something else"),
    ],
)
def test_a_go_version_is_read(text: str, expected: tuple[int, int]):
    assert toolchain.version_in(text) == expected


def test_the_toolchain_comes_through_the_machines_module_proxy():
    assert toolchain.proxy_of("off,https://go.example/,direct") == "https://go.example"


@pytest.mark.parametrize("value", ["", "direct"], ids=["unset", "no proxy in it"])
def test_a_machine_without_a_module_proxy_is_told_what_to_install(value: str):
    with pytest.raises(MachineLacks, match="GOPROXY") as caught:
        toolchain.proxy_of(value)
    assert "golang-go" in caught.value.hint


def test_a_processor_without_toolchain_is_refused():
    with pytest.raises(MachineLacks, match="riscv64"):
        toolchain.go_architecture("riscv64")


def test_a_module_zip_has_the_sum_that_go_gives_it(tmp_path: Path):
    archive = tmp_path / "module.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("m@v1/b", "two")
        writer.writestr("m@v1/a", "one")

    # sha256 of the lines `sha256(content)  name`, sorted by name, in base64: what dirhash.Hash1 yields
    assert toolchain.module_sum(archive) == "h1:QioaE1iy6ZDvqZamf7vDXvT1moS1nWAooMrZ8QpmCNU="
