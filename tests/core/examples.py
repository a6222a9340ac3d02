"""The examples beside the tests: valid documents of every kind."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "examples"


def names(prefix: str = "", suffix: str = ".json") -> list[str]:
    return sorted(path.stem for path in FOLDER.glob(f"{prefix}*{suffix}"))


def raw(name: str) -> bytes:
    """`name` with its suffix; `.json` where it has none."""
    return (FOLDER / (name if "." in name else f"{name}.json")).read_bytes()


def read(name: str) -> Any:
    return json.loads(raw(name))
