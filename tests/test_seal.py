"""Keys and sealing: what is sealed opens in its own row, under its own key, and nowhere else."""

import base64
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import SecretMissing
from gateway.keys import KeyBroken, KeyRefused, Keys, is_exposed, read_keys
from gateway.seal import SealBroken, Sealer, aad

KEYS = Keys(bytes(range(32)))
SEALER = Sealer(KEYS)
WRAPPED = KEYS.new_dossier_key()
PLACE = aad("payload", "0198f0c2-7d1e-7b52-9a41-3f6a1c5d0a01", "bericht")


@given(st.binary(max_size=5000), st.sampled_from([WRAPPED, None]))
def test_what_is_sealed_opens_again_and_grows_by_29_bytes(plaintext: bytes, wrapped: bytes | None) -> None:
    sealed = SEALER.seal(wrapped, plaintext, PLACE)
    assert SEALER.open(wrapped, sealed, PLACE) == plaintext
    assert len(sealed) == len(plaintext) + 29


def test_the_same_value_never_seals_to_the_same_bytes() -> None:
    assert SEALER.seal(WRAPPED, b"x", PLACE) != SEALER.seal(WRAPPED, b"x", PLACE)


@pytest.mark.parametrize(
    "place",
    [aad("payload", "other", "bericht"), aad("payload", "0198f0c2-7d1e-7b52-9a41-3f6a1c5d0a01", "aanzicht"), b""],
)
def test_a_value_moved_to_another_row_does_not_open(place: bytes) -> None:
    with pytest.raises(SealBroken):
        SEALER.open(WRAPPED, SEALER.seal(WRAPPED, b"canary", PLACE), place)


def test_every_flipped_bit_is_noticed() -> None:
    sealed = SEALER.seal(WRAPPED, b"canary", PLACE)
    for bit in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken):
            SEALER.open(WRAPPED, bytes(damaged), PLACE)


@pytest.mark.parametrize("length", [0, 1, 13, 28])
def test_a_truncated_value_is_broken_not_a_crash(length: int) -> None:
    with pytest.raises(SealBroken):
        SEALER.open(WRAPPED, SEALER.seal(WRAPPED, b"canary", PLACE)[:length], PLACE)


def test_one_dossier_cannot_open_what_another_sealed() -> None:
    sealed = SEALER.seal(WRAPPED, b"canary", PLACE)
    for other in (KEYS.new_dossier_key(), None):
        with pytest.raises(SealBroken):
            SEALER.open(other, sealed, PLACE)


@pytest.mark.parametrize("wrapped", [b"", b"x" * 39, bytes(40)])
def test_a_key_that_is_not_ours_breaks_the_seal(wrapped: bytes) -> None:
    with pytest.raises(SealBroken):
        SEALER.seal(wrapped, b"canary", PLACE)


def test_a_dossier_key_opens_only_under_its_own_kek() -> None:
    with pytest.raises(KeyBroken):
        Keys(os.urandom(32)).cipher(WRAPPED)


def test_a_wrapped_key_holds_nothing_of_the_key() -> None:
    key = bytes(range(100, 132))
    assert key not in Keys(bytes(32), entropy=lambda n: key[:n]).new_dossier_key()


@given(st.lists(st.text(), min_size=2, max_size=4), st.lists(st.text(), min_size=2, max_size=4))
def test_two_places_have_the_same_name_only_when_they_are_the_same(one: list[str], other: list[str]) -> None:
    assert (aad(*one) == aad(*other)) == (one == other)


def test_subkeys_are_stable_and_unrelated() -> None:
    assert KEYS.derive("verp") == Keys(bytes(range(32))).derive("verp")
    assert len({KEYS.derive("verp"), KEYS.derive("token"), KEYS.derive("gateway"), bytes(range(32))}) == 4


def key_file(directory: Path, content: bytes, mode: int = 0o600) -> str:
    path = directory / "ledger.key"
    path.write_bytes(content)
    path.chmod(mode)
    return f"file:{path}"


def test_the_key_file_is_one_line_of_base64(tmp_path: Path) -> None:
    reference = key_file(tmp_path, base64.b64encode(bytes(range(32))) + b"\n", 0o640)
    assert read_keys(reference).derive("verp") == KEYS.derive("verp")


def test_a_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_KEY", base64.b64encode(bytes(range(32))).decode())
    assert read_keys("env:LEDGER_KEY").derive("verp") == KEYS.derive("verp")


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o660])
def test_a_key_file_that_others_can_reach_is_refused(passable_path: Path, mode: int) -> None:
    with pytest.raises(KeyRefused, match="chmod"):
        read_keys(key_file(passable_path, base64.b64encode(bytes(32)), mode))


@pytest.mark.parametrize(
    ("mode", "directories", "exposed"),
    [
        (0o644, (0o755, 0o755), True),
        (0o604, (0o711, 0o701), True),
        (0o606, (0o777, 0o755), True),
        (0o602, (0o755, 0o755), True),
        (0o600, (0o755, 0o755), False),
        (0o640, (0o755, 0o755), False),
        (0o660, (0o755, 0o755), True),
        (0o660, (0o710, 0o750), True),
        (0o660, (0o701, 0o755), True),
        (0o660, (0o755, 0o700), False),
        (0o601, (0o755, 0o755), False),
        (0o644, (0o700, 0o755), False),
        (0o644, (0o755, 0o700), False),
        (0o644, (0o750, 0o755), False),
        (0o644, (0o754, 0o755), False),
    ],
)
def test_a_file_is_exposed_where_others_can_come_to_it_and_it_lets_them(
    passable_path: Path, mode: int, directories: tuple[int, int], exposed: bool
) -> None:
    inner = passable_path / "een" / "twee"
    inner.mkdir(parents=True)
    key_file(inner, b"", mode)
    inner.chmod(directories[1])
    inner.parent.chmod(directories[0])
    assert is_exposed(inner / "ledger.key") is exposed


def test_what_counts_is_where_a_file_really_lies(passable_path: Path, tmp_path: Path) -> None:
    (passable_path / "hier").symlink_to(key_file(tmp_path, b"", 0o644).removeprefix("file:"))
    (tmp_path / "daar").symlink_to(key_file(passable_path, b"", 0o644).removeprefix("file:"))
    assert not is_exposed(passable_path / "hier")
    assert is_exposed(tmp_path / "daar")


def test_a_link_that_leads_nowhere_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "rond").symlink_to("rond")
    (tmp_path / "weg").symlink_to("nergens")
    for name in ("rond", "weg"):
        with pytest.raises(OSError, match=r"rond|weg"):
            is_exposed(tmp_path / name)


def test_a_key_file_in_a_directory_of_ours_alone_is_taken(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert read_keys(key_file(tmp_path, base64.b64encode(bytes(range(32))), 0o644)).derive("verp") == KEYS.derive(
        "verp"
    )


@pytest.mark.parametrize(
    "content", [b"", b"secret", base64.b64encode(bytes(31)), base64.b64encode(bytes(33)), bytes(32)]
)
def test_a_key_that_is_not_32_bytes_of_base64_is_refused_and_not_repeated(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(KeyRefused) as caught:
        read_keys(key_file(tmp_path, content))
    assert "secret" not in str(caught.value)


def test_an_absent_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretMissing, match="nergens"):
        read_keys(f"file:{tmp_path}/nergens")
