"""gateway.toml: what is read, what is refused, and that every setting is documented."""

import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec import Struct

from gateway import config, register
from gateway.config import Config, read_config
from gateway.core.deadlines import Duration
from gateway.core.retry import Policy
from gateway.tables import Address, TablesRefused

ROOT = Path(__file__).parent.parent
CANARY = "geheim-wachtwoord"

LEAST = """
[ledger]
url = "sqlite:///kennisgeving.db"
sleutel = "file:ledger.key"
"""

WHOLE = """
[ledger]
url = "postgresql://gateway@127.0.0.1/kennisgeving"
sleutel = "file:certs/local/ledger.key"

[amqp]
url = "amqps://gateway@broker.example/"
ca = "file:ca.pem"
wachtwoord = "env:AMQP_PASSWORD"
declareer = false
beheer_url = "http://127.0.0.1:15672"
wachtrij = "andere.intake"

[http]
luister = "0.0.0.0:8443"
publiek_adres = "https://kennisgeving.example/"
certificaat = "file:tls.pem"
certificaat_sleutel = "file:tls.key"
luister_mtls = "[::]:9443"
ca = "file:/etc/clients.pem"
oauth2 = { uitgever = "https://login.example", jwks = "file:jwks.json", publiek = "kennisgeving" }

[email]
relais = "smtp://127.0.0.1:2525"
ca = "file:relay.pem"
inkomend = { imap = "imaps://mail.example", wachtwoord = "file:imap.secret" }

[tempo]
eerste_herhaling = "1 s"
hoogste_herhaling = "10 min"
opgeven_na = "7 dagen"
cjib_peiling_hoogste = "2 uur"
vrije_dagen = [2026-12-24]

[gateway]
oin = "00000099000000001001"
naam = "Proef"

[register]
bestand = "schuldeisers.toml"

[[afzender]]
naam = "Gemeente Voorbeeld"
oin = "00000099000000363000"
amqp_gebruiker = "gem-0363"
client_id = "gem-0363"
gemeenten = ["0363", "GM0599"]

[[afzender]]
naam = "Pauzeknop"
oin = "00000099000000777000"
gemeenten = []
"""


def read(directory: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    path = directory / "gateway.toml"
    path.write_text(text, "utf-8")
    return read_config(path, environ or {}, channels=("email",))


def refusals(directory: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(TablesRefused) as caught:
        read(directory, text, environ)
    return caught.value.errors


def test_two_settings_are_enough_and_the_rest_is_as_the_contract_says(tmp_path: Path) -> None:
    settings = read(tmp_path, LEAST)
    assert settings.ledger.url == f"sqlite:///{tmp_path}/kennisgeving.db"
    assert settings.ledger.key == f"file:{tmp_path}/ledger.key"
    assert (settings.amqp, settings.register, settings.senders, settings.channels) == (None, None, (), {})
    assert settings.http.listen == Address("127.0.0.1", 8080)
    assert settings.http.public_url == "http://127.0.0.1:8080"
    assert settings.tempo.policy == Policy()
    assert settings.tempo.attempt_timeout == settings.tempo.lease == timedelta(seconds=30)
    assert settings.tempo.gap_wait == timedelta(minutes=15)
    assert settings.tempo.poll("sftp") == settings.tempo.poll("email") == (60, 60)
    assert settings.tempo.poll("cjib") == (60, 3600)
    assert settings.gateway.oin == "00000099000000001000"


def test_every_table_of_the_contract_is_read(tmp_path: Path) -> None:
    settings = read(tmp_path, WHOLE)
    assert settings.ledger.url == "postgresql://gateway@127.0.0.1/kennisgeving"
    assert settings.amqp is not None
    assert (settings.amqp.password, settings.amqp.declare) == ("env:AMQP_PASSWORD", False)
    assert (settings.amqp.queue, settings.amqp.exchange_in) == ("andere.intake", "kennisgeving.in")
    assert settings.amqp.ca == f"file:{tmp_path}/ca.pem"
    assert settings.http.public_url == "https://kennisgeving.example"
    assert settings.http.listen_mtls == Address("::", 9443)
    assert settings.http.ca == "file:/etc/clients.pem"
    assert settings.http.oauth2 is not None
    assert settings.http.oauth2.keys == f"file:{tmp_path}/jwks.json"
    assert settings.tempo.policy == Policy(1, 600, Duration(7, "dagen"))
    assert settings.tempo.closed_days == (date(2026, 12, 24),)
    assert settings.register is not None
    assert settings.register.file == f"{tmp_path}/schuldeisers.toml"
    gemeente, pauzeknop = settings.senders
    assert gemeente.gemeenten == ("0363", "0599")
    assert (gemeente.amqp_user, pauzeknop.amqp_user) == ("gem-0363", None)


def test_a_channels_table_is_left_to_its_adapter_with_absolute_paths(tmp_path: Path) -> None:
    email = read(tmp_path, WHOLE).channels["email"]
    assert email["ca"] == f"file:{tmp_path}/relay.pem"
    assert email["inkomend"] == {"imap": "imaps://mail.example", "wachtwoord": f"file:{tmp_path}/imap.secret"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("kleur = 1", "[kleur]: onbekende tabel"),
        ("[sftp]\nx = 1", "[sftp]: onbekende tabel"),
        ("[tempo]\nsnelheid = 1", "[tempo] snelheid: onbekende instelling"),
        ("[tempo]\nlease = 30", "[tempo] lease: verwacht tekst tussen aanhalingstekens"),
        ('[tempo]\nlease = "30"', "[tempo] lease: een duur is"),
        ('[tempo]\nlease = "1 werkdagen"', "[tempo] lease: een duur in werkdagen kan hier niet, alleen bij opgeven_na"),
        ('[tempo]\nhoogste_herhaling = "1 s"', "[tempo] hoogste_herhaling: is korter dan eerste_herhaling"),
        ('[tempo]\ncjib_peiling = "2 uur"', "[tempo] cjib_peiling_hoogste: is korter dan cjib_peiling"),
        ('[tempo]\nvrije_dagen = ["kerst"]', "[tempo] vrije_dagen: verwacht een lijst met een datum"),
        ("tempo = 1", "[tempo]: moet een tabel zijn"),
        ('[gateway]\noin = "1"', "[gateway] oin: verwacht 20 cijfers"),
        ('[http]\nluister = "8080"', '[http] luister: verwacht "<adres>:<poort>"'),
        ('[http]\nluister = "127.0.0.1:99999"', '[http] luister: verwacht "<adres>:<poort>"'),
        ('[http]\nluister = "0.0.0.0:8080"', "[http] luister: zonder certificaat alleen op deze machine zelf"),
        ('[http]\nluister = "gateway.example:80"', "[http] luister: zonder certificaat alleen op deze machine zelf"),
        ('[http]\ncertificaat = "file:a"', "[http] certificaat, certificaat_sleutel: het een niet zonder het ander"),
        ('[http]\nluister_mtls = "127.0.0.1:1"', "[http] luister_mtls: vraagt certificaat"),
        ('[http]\npubliek_adres = "http://kennisgeving.example"', "[http] publiek_adres: verwacht https://"),
        ('[http]\noauth2 = { uitgever = "https://a", jwks = "x", publiek = "k" }', "[http] oauth2.jwks: verwacht"),
        ('[http]\noauth2 = { uitgever = "https://a", publiek = "k" }', "[http] oauth2.jwks: ontbreekt"),
        ("[amqp]\ndeclareer = true", "[amqp] url: ontbreekt"),
        ('[amqp]\nurl = "amqps://a"\ndeclareer = "ja"', "[amqp] declareer: verwacht true of false"),
        ('[amqp]\nurl = "amqps://a"\nvooruit = 0', "[amqp] vooruit: verwacht 1 tot en met 2000"),
        ('[amqp]\nurl = "https://a"', '[amqp] url: verwacht "amqps://…"'),
        ('[amqp]\nurl = "amqp://broker.example"', "[amqp] url: amqp:// zonder TLS mag alleen naar deze machine zelf"),
        ('[amqp]\nurl = "amqp://10.0.0.1"', "[amqp] url: amqp:// zonder TLS mag alleen naar deze machine zelf"),
        ('[amqp]\nurl = "amqps://a"\nwachtwoord = "los"', '[amqp] wachtwoord: verwacht "file:<pad>" of "env:<NAAM>"'),
        ('[amqp]\nurl = "amqps://a"\nbeheer_url = "http://b"', "[amqp] beheer_url: http:// mag alleen"),
        ("[register]", "[register] bestand: ontbreekt"),
        ("[afzender]\nnaam = 'x'", "[[afzender]]: schrijf dubbele haken"),
        ("[[afzender]]\nnaam = 'x'\noin = '00000099000000363000'\ngemeenten = ['363']",
         "[[afzender]] 1 gemeenten: verwacht een lijst met CBS-codes van vier cijfers"),
        ("[[afzender]]\nnaam = 'x'\noin = '00000099000000363000'", "[[afzender]] 1 gemeenten: ontbreekt"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_by_table_and_key(tmp_path: Path, text: str, error: str) -> None:
    top, tables = (text, "") if "[" not in text.split("\n", maxsplit=1)[0] else ("", text)
    (refusal,) = refusals(tmp_path, f"{top}\n{LEAST}\n{tables}")
    assert refusal.startswith(error)


@pytest.mark.parametrize("url", ["amqp://127.0.0.1", "amqp://u@127.0.0.9:5673/", "amqp://localhost/v", "amqp://[::1]/"])
def test_plain_amqp_is_for_this_machine_only(tmp_path: Path, url: str) -> None:
    amqp = read(tmp_path, f'{LEAST}\n[amqp]\nurl = "{url}"').amqp
    assert amqp is not None
    assert amqp.url == url


@pytest.mark.parametrize(
    "url",
    ["sqlite:///", "sqlite://", "sqlite:///:memory:", "mysql://a/b", "postgresql://", "postgresql://h", "bestand.db"],
)
def test_only_postgresql_and_sqlite_files_are_ledgers(tmp_path: Path, url: str) -> None:
    (refusal,) = refusals(tmp_path, LEAST.replace("sqlite:///kennisgeving.db", url))
    assert refusal.startswith("[ledger] url: verwacht")


def postgresql(url: str, ca: str = "") -> str:
    return LEAST.replace("sqlite:///kennisgeving.db", url) + ca


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://gateway:geheim@127.0.0.1:5433/k",
        "postgresql://localhost/k",
        "postgresql://gateway@[::1]:5433/k",
        "postgresql:///k?host=/run/postgresql",
        "postgresql:///k?host=127.0.0.1:5432&host=[::1]:5433",
        "postgresql:///k",
    ],
)
def test_postgresql_without_tls_is_for_this_machine(tmp_path: Path, url: str) -> None:
    assert read(tmp_path, postgresql(url)).ledger.url == url


@pytest.mark.parametrize(
    ("url", "environ"),
    [
        ("postgresql://gateway@db.example/k", {}),
        ("postgresql://10.0.0.1/k", {}),
        ("postgresql://[fd00::1]:5433/k", {}),
        ("postgresql://gateway:127.0.0.1@db.example/k", {}),
        ("postgresql://127.0.0.1,db.example/k", {}),
        ("postgresql://127.0.0.1/k?host=db.example", {}),
        ("postgresql:///k?host=127.0.0.1:5432&host=db.example:5432", {}),
        ("postgresql:///k", {"PGHOST": "db.example"}),
        ("postgresql:///k", {"PGSERVICE": "ledger"}),
    ],
)
def test_postgresql_elsewhere_asks_for_a_ca(tmp_path: Path, url: str, environ: Mapping[str, str]) -> None:
    (refusal,) = refusals(tmp_path, postgresql(url), environ)
    assert refusal.startswith("[ledger] ca: ontbreekt, en ")
    assert "is niet deze machine zelf" in refusal
    ca = 'ca = "file:ca.pem"\n'
    assert read(tmp_path, postgresql(url, ca), environ).ledger.ca == f"file:{tmp_path}/ca.pem"


def test_a_file_has_no_ca(tmp_path: Path) -> None:
    assert refusals(tmp_path, LEAST + 'ca = "file:ca.pem"') == ["[ledger] ca: hoort bij postgresql://"]


@pytest.mark.parametrize("key", ["ssl", "sslmode", "direct_tls", "dsn", "service"])
def test_tls_is_not_chosen_in_the_address(tmp_path: Path, key: str) -> None:
    found = refusals(tmp_path, postgresql(f"postgresql://127.0.0.1/k?{key}=require", 'ca = "file:ca.pem"\n'))
    assert found == [f"[ledger] url: {key} kan daar niet; TLS volgt uit ca"]


def test_an_absolute_sqlite_file_stays_where_it_is(tmp_path: Path) -> None:
    settings = read(tmp_path, LEAST.replace("sqlite:///", "sqlite:////srv/"))
    assert settings.ledger.url == "sqlite:////srv/kennisgeving.db"


def test_two_senders_cannot_be_known_by_the_same_name(tmp_path: Path) -> None:
    sender = "[[afzender]]\nnaam = 'x'\noin = '00000099000000363000'\ngemeenten = []\n"
    sender += "amqp_gebruiker = 'a'\nclient_id = 'c'\n"
    assert refusals(tmp_path, LEAST + sender + sender) == [
        "[[afzender]] oin: 00000099000000363000 staat er 2 keer",
        "[[afzender]] amqp_gebruiker: a staat er 2 keer",
        "[[afzender]] client_id: c staat er 2 keer",
    ]


def test_every_error_is_told_at_once(tmp_path: Path) -> None:
    found = refusals(tmp_path, "[ledger]\nurl = 1\n[tempo]\nlease = 1\nx = 1\n[http]\nluister = 1\n[y]\n[[afzender]]\n")
    assert [line.split(":")[0] for line in found] == [
        "[y]",
        "[ledger] url",
        "[ledger] sleutel",
        "[http] luister",
        "[tempo] x",
        "[tempo] lease",
        "[[afzender]] 1 naam",
        "[[afzender]] 1 oin",
        "[[afzender]] 1 gemeenten",
    ]


def test_an_absent_ledger_is_named_by_its_settings(tmp_path: Path) -> None:
    assert refusals(tmp_path, "") == ["[ledger] url: ontbreekt", "[ledger] sleutel: ontbreekt"]


def test_a_refusal_never_repeats_a_secret(tmp_path: Path) -> None:
    text = f"""{LEAST}
[amqp]
url = "amqp://gateway:{CANARY}@broker.example"
wachtwoord = "{CANARY}"
ca = "{CANARY}"
[http]
publiek_adres = "http://{CANARY}@x"
"""
    assert CANARY not in "\n".join(refusals(tmp_path, text))
    assert CANARY not in "\n".join(refusals(tmp_path, LEAST + f'[amqp]\nurl = "amqp://u:{CANARY}@broker.example"'))


@pytest.mark.parametrize("content", [b"[ledger", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(content)
    with pytest.raises(TablesRefused, match=r"gateway\.toml: geen"):
        read_config(path, {})


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TablesRefused, match=r"nergens\.toml: niet te lezen"):
        read_config(tmp_path / "nergens.toml", {})


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        WHOLE,
        {
            "KENNISGEVING_LEDGER__URL": "sqlite:///ander.db",
            "KENNISGEVING_LEDGER__SLEUTEL": "file:andere.key",
            "KENNISGEVING_AMQP__DECLAREER": "true",
            "KENNISGEVING_AMQP__VOORUIT": "50",
            "KENNISGEVING_TEMPO__LEASE": "10 s",
            "KENNISGEVING_TEMPO__VRIJE_DAGEN": "[2027-12-24]",
            "KENNISGEVING_HTTP__OAUTH2__PUBLIEK": "ander",
            "KENNISGEVING_EMAIL__INKOMEND__IMAP": "imaps://ander.example",
            "KENNISGEVING_GATEWAY__NAAM": "12",
            "KENNISGEVING_LOS": "genegeerd",
            "HOME": "/root",
        },
    )
    assert settings.ledger.url == f"sqlite:///{tmp_path}/ander.db"
    assert settings.ledger.key == f"file:{tmp_path}/andere.key"
    assert settings.amqp is not None
    assert (settings.amqp.declare, settings.amqp.prefetch) == (True, 50)
    assert settings.tempo.lease == timedelta(seconds=10)
    assert settings.tempo.closed_days == (date(2027, 12, 24),)
    assert settings.http.oauth2 is not None
    assert settings.http.oauth2.audience == "ander"
    assert settings.gateway.name == "12"
    email: Any = settings.channels["email"]
    assert email["inkomend"]["imap"] == "imaps://ander.example"
    assert type(email["inkomend"]["imap"]) is str


def test_the_environment_can_make_a_table(tmp_path: Path) -> None:
    amqp = read(tmp_path, LEAST, {"KENNISGEVING_AMQP__URL": "amqps://broker.example"}).amqp
    assert amqp is not None
    assert amqp.declare


@pytest.mark.parametrize(
    ("variable", "text", "error"),
    [
        ("KENNISGEVING_TEMPO__SNELHEID", "1", "[tempo] snelheid: onbekende instelling"),
        ("KENNISGEVING_KLEUR__ROOD", "1", "[kleur]: onbekende tabel"),
        ("KENNISGEVING_AMQP__VOORUIT", "veel", "[amqp] vooruit: verwacht 1 tot en met 2000"),
        ("KENNISGEVING_AFZENDER__OIN", "1", "KENNISGEVING_AFZENDER__OIN: afzender is geen tabel"),
        ("KENNISGEVING_LEDGER__URL__X", "1", "KENNISGEVING_LEDGER__URL__X: ledger.url is geen tabel"),
    ],
)
def test_the_environment_is_judged_like_the_file(tmp_path: Path, variable: str, text: str, error: str) -> None:
    assert refusals(tmp_path, WHOLE, {variable: text}) == [error]


def names(kind: type[Struct], place: str) -> Iterator[str]:
    """Every setting of a table, by its full name."""
    for field in msgspec.structs.fields(kind):
        inner = [
            one for one in (field.type, *get_args(field.type)) if isinstance(one, type) and issubclass(one, Struct)
        ]
        nested = [one for one in inner if one.__module__ in ("gateway.config", "gateway.register")]
        if nested:
            yield from names(nested[0], f"{place}{field.encode_name}.")
        else:
            yield f"{place}{field.encode_name}"


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    tables: dict[str, type[Struct]] = {**config._TABLES, "afzender": config._SenderTable}
    every = [name for table, kind in tables.items() for name in names(kind, f"{table}.")]
    every += names(register._Entry, "")
    assert len(every) >= 60
    assert [name for name in every if f"| `{name}` |" not in text] == []


def test_only_settings_that_exist_are_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    tables: dict[str, type[Struct]] = {**config._TABLES, "afzender": config._SenderTable}
    every = {name for table, kind in tables.items() for name in names(kind, f"{table}.")} | {
        *names(register._Entry, "")
    }
    documented = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert [name for name in documented if name not in every] == []


def test_the_documentations_durations_are_those_that_hold(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `tempo.")]
    said = {row[1].strip(" `").removeprefix("tempo."): row[2].strip(" `") for row in rows}
    said.pop("vrije_dagen")
    written = "\n".join(f'{key} = "{value}"' for key, value in said.items())
    assert tomllib.loads(written)
    assert read(tmp_path, f"{LEAST}\n[tempo]\n{written}").tempo == read(tmp_path, LEAST).tempo
