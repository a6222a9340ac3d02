"""The creditor register: what is read, what is refused, and what applying another one would change."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.contract import Channel, SettingsRefused
from gateway.core.creditor import Covenant, Creditor, CreditorId, Limit, Register, Term
from gateway.register import (
    Change,
    channel_names,
    creditor_from_json,
    creditor_to_json,
    difference,
    load_channels,
    read_register,
    settings,
)
from gateway.tables import TablesRefused


class Post:
    """A channel that wants an address and nothing else."""

    name = "post"

    @classmethod
    def check_settings(cls, table: Mapping[str, object]) -> None:
        faults = [f"post.{key}: onbekend" for key in table if key != "adres"]
        if "adres" not in table:
            faults.append("post.adres: ontbreekt")
        if faults:
            raise SettingsRefused("; ".join(faults))


CHANNELS = cast(dict[str, type[Channel]], {"post": Post})

WHOLE = """
[[schuldeiser]]
id = "energie-voorbeeld"
naam = "Energie Voorbeeld B.V."
kvk = "68750110"
oin = "00000099000000002000"
sector = "energie"
bsn_grondslag = "art. 1 Voorbeeldwet"
reactietermijn_werkdagen = 12
vertegenwoordigers = ["incasso-voorbeeld"]
kanalen = ["post"]
uitwijken_na = "36 uur"
limiet = { gelijktijdig = 4, per_seconde = 50 }
netwerken = ["127.0.0.0/8"]
ca = "file:certs/ca.pem"
[schuldeiser.convenant]
naam = "Modelconvenant 2024"
bindend = true
pauze = "8 maanden"
anker = "ontvangst"
tweede_termijn = "8 maanden"
soorten = ["energie"]
[schuldeiser.post]
adres = "file:brievenbus"

[[schuldeiser]]
id = "incasso-voorbeeld"
naam = "Incasso Voorbeeld"
kanalen = ["post"]
post = { adres = "Postbus 1" }
"""


def read(directory: Path, text: str) -> list[Creditor]:
    path = directory / "schuldeisers.toml"
    path.write_text(text, "utf-8")
    return read_register(path, CHANNELS)


def refusals(directory: Path, text: str) -> list[str]:
    with pytest.raises(TablesRefused) as caught:
        read(directory, text)
    return caught.value.errors


def test_every_key_of_the_contract_is_read(tmp_path: Path) -> None:
    energie, incasso = read(tmp_path, WHOLE)
    assert energie == Creditor(
        id=CreditorId("energie-voorbeeld"),
        name="Energie Voorbeeld B.V.",
        kvk="68750110",
        oin="00000099000000002000",
        sector="energie",
        covenant=Covenant(
            "Modelconvenant 2024", True, Term(8, "maanden"), "ontvangst", Term(8, "maanden"), ("energie",)
        ),
        bsn_basis="art. 1 Voorbeeldwet",
        answer_days=12,
        agents=(CreditorId("incasso-voorbeeld"),),
        channels=("post",),
        fallback_after=timedelta(hours=36),
        limit=Limit(4, 50),
        networks=("127.0.0.0/8",),
        ca=f"file:{tmp_path}/certs/ca.pem",
        endpoints={"post": {"adres": f"file:{tmp_path}/brievenbus"}},
    )
    assert incasso == Creditor(
        CreditorId("incasso-voorbeeld"),
        "Incasso Voorbeeld",
        channels=("post",),
        endpoints={"post": {"adres": "Postbus 1"}},
    )


def test_a_creditor_is_found_by_id_kvk_and_oin(tmp_path: Path) -> None:
    register = Register(read(tmp_path, WHOLE))
    names = ["energie-voorbeeld", "kvk:68750110", "oin:00000099000000002000"]
    assert {found.id for name in names if (found := register.find(name))} == {"energie-voorbeeld"}
    assert register.find("kvk:00000000") is None


ENTRY = """
[[schuldeiser]]
id = "een"
naam = "Een"
kanalen = ["post"]
post = { adres = "Postbus 1" }
"""


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('kleur = "rood"', "kleur: onbekende instelling"),
        ('kvk = "123"', "kvk: verwacht 8 cijfers"),
        ("kvk = 68750110", "kvk: verwacht 8 cijfers"),
        ('oin = "68750110"', "oin: verwacht 20 cijfers"),
        ('bsn_grondslag = " "', "bsn_grondslag: verwacht tekst zonder stuurtekens"),
        ('sector = "a\\nb"', "sector: verwacht tekst zonder stuurtekens"),
        ("reactietermijn_werkdagen = 0", "reactietermijn_werkdagen: verwacht een geheel getal vanaf 1"),
        ('reactietermijn_werkdagen = "10"', "reactietermijn_werkdagen: verwacht een geheel getal vanaf 1"),
        ('uitwijken_na = "1 werkdagen"', "uitwijken_na: een duur in werkdagen kan hier niet"),
        ("uitwijken_na = 24", "uitwijken_na: verwacht tekst"),
        ('netwerken = ["10.0.0.1/8"]', "netwerken: 10.0.0.1/8 is geen netwerk"),
        ('netwerken = "127.0.0.0/8"', "netwerken: verwacht een lijst met tekst"),
        ('ca = "certs/ca.pem"', 'ca: verwacht "file:<pad>" of "env:<NAAM>"'),
        ('vertegenwoordigers = ["ander"]', "vertegenwoordigers: ander staat niet in het register"),
        ('vertegenwoordigers = ["een"]', "vertegenwoordigers: noemt zichzelf"),
        ("limiet = { tegelijk = 1 }", "limiet.tegelijk: onbekende instelling"),
        ("limiet = { gelijktijdig = 0 }", "limiet.gelijktijdig: verwacht een geheel getal vanaf 1"),
        ("limiet = { per_seconde = -1 }", "limiet.per_seconde: verwacht een getal vanaf 0"),
        ("limiet = 8", "limiet: moet een tabel zijn"),
        ('convenant = { naam = "c", bindend = true }', "convenant.pauze: ontbreekt"),
        ('convenant = { naam = "c", pauze = "8 maanden" }', "convenant.bindend: ontbreekt"),
        ('convenant = { naam = "c", bindend = true, pauze = "lang" }', "convenant.pauze: een termijn is"),
        (
            'convenant = { naam = "c", bindend = true, pauze = "8 maanden", anker = "nu" }',
            "convenant.anker: verwacht een van: verzending, ontvangst",
        ),
    ],
)
def test_a_wrong_key_is_refused_by_creditor_and_key(tmp_path: Path, line: str, error: str) -> None:
    (refusal,) = refusals(tmp_path, ENTRY + line)
    assert refusal.startswith(f'schuldeiser "een" {error}')


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (ENTRY.replace('["post"]', '["fax"]'), 'schuldeiser "een" kanalen: fax is geen kanaal; wel: post'),
        (ENTRY.replace('["post"]', '["post", "post"]'), 'schuldeiser "een" kanalen: elk kanaal één keer'),
        (ENTRY.replace('["post"]', "[]"), 'schuldeiser "een" kanalen: noem er ten minste één'),
        (ENTRY.replace('post = { adres = "Postbus 1" }', ""),
         'schuldeiser "een" kanalen: post heeft geen tabel [schuldeiser.post]'),
        (ENTRY.replace("adres", "straat"), 'schuldeiser "een" post.straat: onbekend; post.adres: ontbreekt'),
        (ENTRY.replace('{ adres = "Postbus 1" }', '"Postbus 1"'), 'schuldeiser "een" post: moet een tabel zijn'),
        (ENTRY.replace('id = "een"', ""), "schuldeiser nr. 1 id: ontbreekt"),
        (ENTRY.replace('"een"', '"een twee"'), 'schuldeiser "een twee" id: verwacht letters, cijfers'),
        (ENTRY.replace('"een"', '"kvk:68750110"'), 'schuldeiser "kvk:68750110" id: verwacht letters, cijfers'),
        ("[schuldeiser]\nid = 'een'", "[[schuldeiser]]: schrijf dubbele haken"),
        (ENTRY + "[rest]\n", "rest: onbekende tabel"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_refused(tmp_path: Path, entry: str, error: str) -> None:
    (refusal,) = refusals(tmp_path, entry)
    assert refusal.startswith(error)


@pytest.mark.parametrize("key", ['kvk = "68750110"', 'oin = "00000099000000002000"'])
def test_two_creditors_with_one_number_are_both_named(tmp_path: Path, key: str) -> None:
    found = refusals(tmp_path, ENTRY + key + ENTRY.replace('"een"', '"twee"') + key)
    name = key.split(maxsplit=1)[0]
    assert found == [f'schuldeiser "{who}" {name}: heeft een ander ook' for who in ("een", "twee")]


def test_two_creditors_with_one_id_are_refused(tmp_path: Path) -> None:
    assert refusals(tmp_path, ENTRY + ENTRY) == ['schuldeiser "een" id: heeft een ander ook'] * 2


def test_every_error_is_told_at_once(tmp_path: Path) -> None:
    wrong = (
        ENTRY + 'kvk = "1"\noin = "2"\nkleur = "rood"\n' + ENTRY.replace('"een"', '"twee"').replace("adres", "straat")
    )
    found = refusals(tmp_path, wrong)
    assert [line.split(":")[0] for line in found] == [
        'schuldeiser "een" kleur',
        'schuldeiser "een" kvk',
        'schuldeiser "een" oin',
        'schuldeiser "twee" post.straat',
    ]


@pytest.mark.parametrize("content", [b"[[schuldeiser", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "schuldeisers.toml"
    path.write_bytes(content)
    with pytest.raises(TablesRefused, match="geen"):
        read_register(path, CHANNELS)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TablesRefused, match=r"schuldeisers\.toml: niet te lezen"):
        read_register(tmp_path / "schuldeisers.toml", CHANNELS)


def test_an_empty_register_holds_nobody(tmp_path: Path) -> None:
    assert read(tmp_path, "") == []


def test_a_creditor_survives_the_ledger_unchanged(tmp_path: Path) -> None:
    creditors = read(tmp_path, WHOLE)
    assert [creditor_from_json(creditor_to_json(creditor)) for creditor in creditors] == creditors
    assert difference(creditors, [creditor_from_json(creditor_to_json(creditor)) for creditor in creditors]) == []


def test_the_difference_names_what_is_new_changed_and_gone(tmp_path: Path) -> None:
    old = read(tmp_path, WHOLE)
    changed = WHOLE.replace("reactietermijn_werkdagen = 12\n", "").replace('pauze = "8 maanden"', 'pauze = "6 maanden"')
    changed = changed.replace("bindend = true", "bindend = false").replace(
        '"incasso-voorbeeld"', '"gerechtsdeurwaarder"'
    )
    assert difference(old, read(tmp_path, changed)) == [
        Change(
            "gewijzigd",
            CreditorId("energie-voorbeeld"),
            (
                "convenant.bindend: ja → nee",
                "convenant.pauze: 8 maanden → 6 maanden",
                "vertegenwoordigers: incasso-voorbeeld → gerechtsdeurwaarder",
                "reactietermijn_werkdagen: 12 → –",
            ),
        ),
        Change(
            "nieuw",
            CreditorId("gerechtsdeurwaarder"),
            ("naam: Incasso Voorbeeld", "kanalen: post", "post.adres: Postbus 1"),
        ),
        Change("vervallen", CreditorId("incasso-voorbeeld")),
    ]


def test_settings_leave_out_what_is_the_default(tmp_path: Path) -> None:
    _, incasso = read(tmp_path, WHOLE)
    assert settings(incasso) == {"naam": "Incasso Voorbeeld", "kanalen": "post", "post.adres": "Postbus 1"}


def test_the_example_of_the_contract_passes_the_real_adapters(tmp_path: Path) -> None:
    host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBbUzqPPMfkVyJ7zqYjyN0JLyVBFuGxsBYS6y2oHfKEh"
    tables: Mapping[str, dict[str, Any]] = {
        "webhook": {"url": "https://a.example/in", "sleutels": ["file:w.key"], "antwoord_sleutels": ["file:a.key"]},
        "sftp": {"host": "sftp.example", "poort": 22, "gebruiker": "g", "sleutel": "file:s.key",
                 "hostsleutels": [host_key], "map": "/"},
        "email": {"adres": "schuldhulp@voorbeeld.example", "certificaat": "file:e.pem"},
        "cjib": {"url": "https://c.example", "token_url": "https://c.example/token", "uitgever": "https://c.example",
                 "client_id": "x", "sleutel": "file:c.key", "certificaat": "file:c.pem",
                 "certificaat_sleutel": "file:d.key"},
    }  # fmt: skip
    lines = ["[[schuldeiser]]", 'id = "cjib"', 'naam = "CJIB"', f"kanalen = {list(tables)}"]
    for name, table in tables.items():
        lines += [f"[schuldeiser.{name}]", *(f"{key} = {value!r}" for key, value in table.items())]
    path = tmp_path / "schuldeisers.toml"
    path.write_text("\n".join(lines), "utf-8")
    (creditor,) = read_register(path, load_channels())
    assert creditor.channels == ("webhook", "sftp", "email", "cjib")
    assert set(creditor.endpoints) <= channel_names()
