"""What must hold of the repository itself."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "adapters", "schemas")
LOCKS = ("requirements.txt", "requirements-build.txt", "requirements-dev.txt")
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{40}")


def files(*folders: str) -> Iterator[Path]:
    """Every file below the folders that is ours: no caches, no dot-folders."""
    for folder in folders:
        for path in (ROOT / folder).rglob("*"):
            within = path.relative_to(ROOT)
            if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in within.parts):
                yield path


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_by_hash_and_names_no_place_to_fetch_from(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|^\s*-(?!-hash)|@ ", text, re.MULTILINE)
    for pinned in re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)):
        assert re.match(r"[a-z0-9.-]+==\S+( ; .+)? \\\n +--hash=sha256:", pinned), pinned.splitlines()[0]


def test_what_runs_is_part_of_what_is_tested() -> None:
    def pins(lock: str) -> set[str]:
        return set(re.findall(r"^[a-z0-9.-]+==\S+", (ROOT / lock).read_text(), re.MULTILINE))

    assert pins("requirements.txt") <= pins("requirements-dev.txt")


def test_no_private_key_is_in_the_tree() -> None:
    assert [path for path in files(".") if PRIVATE_KEY.search(path.read_bytes())] == []


def test_the_four_channels_are_found_by_entry_point() -> None:
    found = {entry.name: entry.load() for entry in entry_points(group="kennisgeving.adapters")}
    assert {"webhook", "sftp", "email", "cjib"} <= found.keys()


def test_the_wheel_holds_every_file_of_its_packages(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.iterdir()
    packed = {name for name in ZipFile(wheel).namelist() if not name.startswith("kennisgeving_gateway-")}
    assert packed == {str(path.relative_to(ROOT)) for path in files(*PACKAGES)}


def test_every_make_target_is_in_its_help_and_the_main_ones_in_the_readme() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    helped = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert set(re.findall(r"^  make (\w+) +\S", helped.stdout, re.MULTILINE)) == targets
    assert {"setup", "demo", "test", "check", "bench"} <= set(
        re.findall(r"make (\w+)", (ROOT / "README.md").read_text())
    )
