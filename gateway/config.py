"""`gateway.toml`: one small frozen record per table (contract §8; what was added is in docs/settings.md).

Every error at once, each naming table and key; an unknown key refuses to start. Relative paths are relative to the
file. `a.b` is overridden by the environment variable KENNISGEVING_A__B: text as it is, anything else as TOML.
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta, Struct, field

from gateway.core.agenda import Terms
from gateway.core.creditor import Creditor
from gateway.core.deadlines import Duration
from gateway.core.notice import Sender, plain_gemeente
from gateway.core.retry import Policy
from gateway.ledger.address import hosts, parameters_elsewhere
from gateway.register import channel_names
from gateway.tables import (
    Address,
    FromEnvironment,
    Oin,
    Reference,
    TablesRefused,
    Text,
    absolute,
    read_record,
    read_toml,
)

PREFIX = "KENNISGEVING_"
Gemeente = Annotated[str, Meta(pattern=r"^(GM)?[0-9]{4}$", description="CBS-codes van vier cijfers")]
Url = Annotated[str, Meta(pattern=r"^[a-z0-9+]+://\S*$", max_length=500, description="een adres met schema://")]


class LedgerSettings(Struct, frozen=True):
    """`url` is `postgresql://…`, or `sqlite:///` with an absolute path; `key` refers to the key-encryption key. With a
    `ca` PostgreSQL is spoken to over TLS only, and its certificate and host name are verified."""

    url: Url
    key: Reference = field(name="sleutel")
    ca: Reference | None = None


class AmqpSettings(Struct, frozen=True):
    """`prefetch` is how many unacknowledged messages the broker hands out."""

    url: Url
    ca: Reference | None = None
    password: Reference | None = field(name="wachtwoord", default=None)
    declare: bool = field(name="declareer", default=True)
    management_url: Url | None = field(name="beheer_url", default=None)
    exchange_in: Text = field(name="uitwisseling_in", default="kennisgeving.in")
    exchange_out: Text = field(name="uitwisseling_uit", default="kennisgeving.uit")
    queue: Text = field(name="wachtrij", default="kennisgeving.intake")
    parked_queue: Text = field(name="wachtrij_geparkeerd", default="kennisgeving.geparkeerd")
    prefetch: Annotated[int, Meta(ge=1, le=2000, description="1 tot en met 2000")] = field(name="vooruit", default=200)


class OAuth2Settings(Struct, frozen=True):
    """`keys` refers to a JWKS file; `audience` is what `aud` must be."""

    issuer: Url = field(name="uitgever")
    keys: Reference = field(name="jwks")
    audience: Text = field(name="publiek")


class HttpSettings(Struct, frozen=True):
    """Without a certificate: plain HTTP, on loopback only. `metrics`: `/metrics` answers, to private networks."""

    listen: Address = field(name="luister", default=Address("127.0.0.1", 8080))
    public_address: Url | None = field(name="publiek_adres", default=None)
    certificate: Reference | None = field(name="certificaat", default=None)
    certificate_key: Reference | None = field(name="certificaat_sleutel", default=None)
    listen_mtls: Address | None = field(name="luister_mtls", default=None)
    ca: Reference | None = None
    oauth2: OAuth2Settings | None = None
    metrics: bool = field(name="meetwaarden", default=True)

    @property
    def public_url(self) -> str:
        """How creditors reach us, without a slash at the end."""
        own = f"{'https' if self.certificate else 'http'}://{self.listen}"
        return (self.public_address or own).rstrip("/")


class Tempo(Struct, frozen=True):
    """How fast and how long."""

    first_retry: timedelta = field(name="eerste_herhaling", default=timedelta(seconds=5))
    highest_retry: timedelta = field(name="hoogste_herhaling", default=timedelta(hours=4))
    give_up_after: Duration = field(name="opgeven_na", default=Duration(5, "werkdagen"))
    attempt_timeout: timedelta = field(name="antwoord_binnen", default=timedelta(seconds=30))
    sftp_poll: timedelta = field(name="sftp_peiling", default=timedelta(seconds=60))
    cjib_poll: timedelta = field(name="cjib_peiling", default=timedelta(seconds=60))
    cjib_poll_highest: timedelta = field(name="cjib_peiling_hoogste", default=timedelta(hours=1))
    other_poll: timedelta = field(name="peiling", default=timedelta(seconds=60))
    gap_wait: timedelta = field(name="gat_wachttijd", default=timedelta(minutes=15))
    lease: timedelta = field(name="lease", default=timedelta(seconds=30))
    closed_days: tuple[date, ...] = field(name="vrije_dagen", default=())
    reminder_term: Duration = field(name="herinnering_termijn", default=Duration(5, "werkdagen"))
    progress_every: Duration = field(name="voortgang_na", default=Duration(60, "dagen"))

    @property
    def policy(self) -> Policy:
        first, highest = self.first_retry.total_seconds(), self.highest_retry.total_seconds()
        return Policy(first, highest, self.give_up_after)

    def terms(self, creditor: Callable[[str], Creditor | None]) -> Terms:
        """What the agenda of a dossier is made with; `creditor` finds one in the register in force."""
        return Terms(creditor, self.closed_days, self.reminder_term, self.progress_every)

    def poll(self, channel: str) -> tuple[float, float]:
        """Seconds between two looks at what creditors left on a channel: ordinarily, and at most."""
        match channel:
            case "sftp":
                every = highest = self.sftp_poll
            case "cjib":
                every, highest = self.cjib_poll, self.cjib_poll_highest
            case _:
                every = highest = self.other_poll
        return every.total_seconds(), highest.total_seconds()


class GatewaySettings(Struct, frozen=True):
    """Who we are; `four_eyes`: what is sent again by command takes two persons. The default OIN is one for testing."""

    oin: Oin = "00000099000000001000"
    name: Text = field(name="naam", default="Kennisgeving-gateway")
    four_eyes: bool = field(name="vier_ogen", default=False)


class RegisterSettings(Struct, frozen=True):
    """`file` is absolute; it is applied at start when the ledger has no register yet."""

    file: Text = field(name="bestand")


class Config(Struct, frozen=True):
    """`channels` holds the table of each channel that has one (`[email]`), raw: its adapter reads it."""

    ledger: LedgerSettings
    http: HttpSettings
    tempo: Tempo
    gateway: GatewaySettings
    senders: tuple[Sender, ...]
    amqp: AmqpSettings | None
    register: RegisterSettings | None
    channels: Mapping[str, Mapping[str, object]]


class _SenderTable(Struct, frozen=True):
    name: Text = field(name="naam")
    oin: Oin
    gemeenten: tuple[Gemeente, ...]
    amqp_user: Text | None = field(name="amqp_gebruiker", default=None)
    client_id: Text | None = None


_TABLES: Mapping[str, type[Struct]] = {
    "ledger": LedgerSettings,
    "amqp": AmqpSettings,
    "http": HttpSettings,
    "tempo": Tempo,
    "gateway": GatewaySettings,
    "register": RegisterSettings,
}
_DEFAULTED = frozenset({"ledger", "http", "tempo", "gateway"})
"""Read as an empty table where absent: its defaults hold, or what it requires is named."""


def read_config(path: Path, environ: Mapping[str, str] = os.environ, channels: Collection[str] | None = None) -> Config:
    """The settings in `path` and `environ`. `channels`: names that may have a table; else those on this machine.

    Raises TablesRefused with every error at once.
    """
    directory = path.absolute().parent
    channels = channel_names() if channels is None else channels
    tables = read_toml(path)
    errors = _override(tables, environ, directory)
    errors += [f"[{name}]: onbekende tabel" for name in tables if name not in {*_TABLES, "afzender", *channels}]
    read: dict[str, Any] = {
        name: read_record(kind, tables.get(name, {}), f"[{name}]", errors)
        for name, kind in _TABLES.items()
        if name in tables or name in _DEFAULTED
    }
    senders = _senders(tables.get("afzender", []), errors)
    if not errors:
        errors += _contradictions(read, environ)
    if errors:
        raise TablesRefused(errors)
    return Config(
        ledger=_placed_ledger(read["ledger"], directory),
        http=read["http"],
        tempo=read["tempo"],
        gateway=read["gateway"],
        senders=senders,
        amqp=read.get("amqp"),
        register=_placed_register(read.get("register"), directory),
        channels={name: _plain(tables[name]) for name in channels if name in tables},
    )


def _override(tables: dict[str, Any], environ: Mapping[str, str], directory: Path) -> list[str]:
    """Put what the environment says into `tables`; returns what it cannot say."""
    errors = []
    for variable, text in sorted(environ.items()):
        *outer, key = variable.removeprefix(PREFIX).lower().split("__")
        if not variable.startswith(PREFIX) or not outer:
            continue
        table: Any = tables
        for name in outer:
            table = table.setdefault(name, {}) if isinstance(table, dict) else None
        if isinstance(table, dict):
            table[key] = absolute(FromEnvironment(text), directory)
        else:
            errors.append(f"{variable}: {'.'.join(outer)} is geen tabel")
    return errors


def _senders(tables: object, errors: list[str]) -> tuple[Sender, ...]:
    if not isinstance(tables, list):
        errors.append("[[afzender]]: schrijf dubbele haken, één tabel per afzender")
        return ()
    found = [read_record(_SenderTable, table, f"[[afzender]] {nr}", errors) for nr, table in enumerate(tables, 1)]
    senders = tuple(
        Sender(
            name=sender.name,
            oin=sender.oin,
            gemeenten=tuple(dict.fromkeys(map(plain_gemeente, sender.gemeenten))),
            amqp_user=sender.amqp_user,
            client_id=sender.client_id,
        )
        for sender in found
        if sender is not None
    )
    errors += _repeated("oin", (sender.oin for sender in senders))
    errors += _repeated("amqp_gebruiker", (sender.amqp_user for sender in senders))
    errors += _repeated("client_id", (sender.client_id for sender in senders))
    return senders


def _repeated(key: str, values: Iterable[str | None]) -> list[str]:
    counts = Counter(value for value in values if value is not None)
    return [f"[[afzender]] {key}: {value} staat er {count} keer" for value, count in counts.items() if count > 1]


def _contradictions(read: Mapping[str, Any], environ: Mapping[str, str]) -> list[str]:
    """What each table may hold by itself and not together."""
    errors = [*_ledger_faults(read["ledger"], environ), *_http_faults(read["http"]), *_tempo_faults(read["tempo"])]
    return errors + _amqp_faults(read["amqp"]) if "amqp" in read else errors


def _ledger_faults(ledger: LedgerSettings, environ: Mapping[str, str]) -> list[str]:
    file = ledger.url.removeprefix("sqlite:///")
    if ledger.url.startswith("sqlite:///") and file and ":memory:" not in file:
        return ["[ledger] ca: hoort bij postgresql://"] if ledger.ca else []
    try:
        if _is_postgresql(ledger.url):
            return _postgresql_faults(ledger, environ)
    except ValueError:
        pass
    return ['[ledger] url: verwacht "postgresql://…" of "sqlite:///<bestand>"']


def _is_postgresql(url: str) -> bool:
    parts = _split(url)
    return parts is not None and parts.scheme == "postgresql" and len(parts.path) > 1


def _postgresql_faults(ledger: LedgerSettings, environ: Mapping[str, str]) -> list[str]:
    """Raises ValueError for what is no address."""
    errors = [f"[ledger] url: {key} kan daar niet; TLS volgt uit ca" for key in parameters_elsewhere(ledger.url)]
    far = [host for host in hosts(ledger.url, environ) if not host.startswith("/") and not is_loopback(host)]
    if far and ledger.ca is None:
        errors.append(f"[ledger] ca: ontbreekt, en {far[0]} is niet deze machine zelf: noem de CA van zijn certificaat")
    return errors


def _amqp_faults(amqp: AmqpSettings) -> list[str]:
    errors = []
    url = _split(amqp.url)
    if url is None or url.scheme not in ("amqp", "amqps"):
        return ['[amqp] url: verwacht "amqps://…"']
    if url.scheme == "amqp" and not is_loopback(url.hostname or ""):
        errors.append("[amqp] url: amqp:// zonder TLS mag alleen naar deze machine zelf; gebruik amqps://")
    if url.password and amqp.password:
        errors.append("[amqp] wachtwoord: staat ook al in url")
    if amqp.management_url and not _is_private_enough(amqp.management_url):
        errors.append("[amqp] beheer_url: http:// mag alleen naar deze machine zelf; gebruik https://")
    return errors


def _http_faults(http: HttpSettings) -> list[str]:
    errors = []
    if (http.certificate is None) != (http.certificate_key is None):
        errors.append("[http] certificaat, certificaat_sleutel: het een niet zonder het ander")
    if http.certificate is None and not is_loopback(http.listen.host):
        errors.append("[http] luister: zonder certificaat alleen op deze machine zelf (127.0.0.1)")
    if http.listen_mtls and not (http.certificate and http.ca):
        errors.append("[http] luister_mtls: vraagt certificaat, certificaat_sleutel en ca")
    if http.public_address and not _is_private_enough(http.public_address):
        errors.append("[http] publiek_adres: verwacht https://")
    return errors


def _tempo_faults(tempo: Tempo) -> list[str]:
    pairs = [
        ("eerste_herhaling", tempo.first_retry, "hoogste_herhaling", tempo.highest_retry),
        ("cjib_peiling", tempo.cjib_poll, "cjib_peiling_hoogste", tempo.cjib_poll_highest),
    ]
    return [f"[tempo] {high}: is korter dan {low}" for low, least, high, most in pairs if most < least]


def is_loopback(host: str) -> bool:
    """By name or address; a name other than localhost is looked up nowhere and is not."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_private_enough(url: str) -> bool:
    """HTTPS, or HTTP that does not leave this machine."""
    parts = _split(url)
    if parts is None or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _placed_ledger(ledger: LedgerSettings, directory: Path) -> LedgerSettings:
    if not ledger.url.startswith("sqlite:///"):
        return ledger
    return msgspec.structs.replace(ledger, url=f"sqlite:///{directory / ledger.url.removeprefix('sqlite:///')}")


def _placed_register(register: RegisterSettings | None, directory: Path) -> RegisterSettings | None:
    return None if register is None else RegisterSettings(str(directory / register.file.removeprefix("file:")))


def _plain(value: Any) -> Any:
    """A raw table without the mark of what came from the environment."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return str(value) if isinstance(value, FromEnvironment) else value
