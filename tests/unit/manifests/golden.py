"""Golden manifests: what the builders yield, as YAML a person can read; `UPDATE_GOLDENS=1` writes them anew."""

import os
from pathlib import Path
from typing import Any

import yaml

DIRECTORY = Path(__file__).resolve().parents[2] / "golden" / "manifests"


def assert_is_golden(name: str, manifest: dict[str, Any]) -> None:
    """The manifest is the one in tests/golden/manifests."""
    path = DIRECTORY / f"{name}.yaml"
    if os.environ.get("UPDATE_GOLDENS"):
        path.write_text(yaml.safe_dump(manifest, sort_keys=False, width=120, allow_unicode=True))
    assert yaml.safe_load(path.read_text()) == manifest, f"{path} differs; UPDATE_GOLDENS=1 writes it anew"
