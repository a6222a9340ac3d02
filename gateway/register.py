"""The creditor register: `schuldeisers.toml` (contract §5), its differences, and the channels it may name.

Every error at once, each naming `schuldeiser "<id>"` and key. A channel's table is judged by its own adapter.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from importlib.metadata import entry_points
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta, Struct, field

from gateway.contract import Channel, Endpoint, SettingsRefused
from gateway.core.creditor import Covenant, Creditor, CreditorId, Limit, Term
from gateway.tables import Count, Kvk, Oin, Reference, TablesRefused, Text, read_record, read_toml

ADAPTERS = "kennisgeving.adapters"

Id = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="letters, cijfers, punt, streep of onderstreping"),
]


class _Covenant(Struct, frozen=True):
    name: Text = field(name="naam")
    binding: bool = field(name="bindend")
    pause: Term = field(name="pauze")
    anchor: Literal["verzending", "ontvangst"] = field(name="anker", default="verzending")
    second_term: Term | None = field(name="tweede_termijn", default=None)
    scope: tuple[Text, ...] = field(name="soorten", default=())


class _Limit(Struct, frozen=True):
    concurrent: Count = field(name="gelijktijdig", default=8)
    per_second: Annotated[float, Meta(ge=0, description="een getal vanaf 0")] = field(name="per_seconde", default=0.0)


class _Entry(Struct, frozen=True):
    """The keys of `[[schuldeiser]]`, channel tables apart."""

    id: Id
    name: Text = field(name="naam")
    kvk: Kvk | None = None
    oin: Oin | None = None
    sector: Text | None = None
    covenant: _Covenant | None = field(name="convenant", default=None)
    bsn_basis: Text | None = field(name="bsn_grondslag", default=None)
    answer_days: Count = field(name="reactietermijn_werkdagen", default=10)
    agents: tuple[Id, ...] = field(name="vertegenwoordigers", default=())
    channels: tuple[Text, ...] = field(name="kanalen", default=())
    fallback_after: timedelta = field(name="uitwijken_na", default=timedelta(hours=24))
    limit: _Limit = field(name="limiet", default=_Limit())
    networks: tuple[Text, ...] = field(name="netwerken", default=())
    ca: Reference | None = None


class Change(Struct, frozen=True):
    """What applying another register does to one creditor. `lines`: `key: old → new`, Dutch."""

    kind: Literal["nieuw", "gewijzigd", "vervallen"]
    creditor: CreditorId
    lines: tuple[str, ...] = ()


def channel_names() -> frozenset[str]:
    """The channels that adapters on this machine offer; loads none of them."""
    return frozenset(point.name for point in entry_points(group=ADAPTERS))


def load_channels() -> dict[str, type[Channel]]:
    """Every adapter's channel by name; raises SettingsRefused naming one that does not load."""
    channels = {}
    for point in entry_points(group=ADAPTERS):
        try:
            channels[point.name] = cast(type[Channel], point.load())
        except (ImportError, AttributeError) as why:
            raise SettingsRefused(f"kanaal {point.name}: {point.value} laadt niet") from why
    return channels


def read_register(path: Path, channels: Mapping[str, type[Channel]] | None = None) -> list[Creditor]:
    """The creditors in `path`; raises TablesRefused. `channels`: instead of those on this machine."""
    channels = load_channels() if channels is None else channels
    tables = read_toml(path)
    errors = [f"{name}: onbekende tabel" for name in tables if name != "schuldeiser"]
    entries = tables.get("schuldeiser", [])
    if not isinstance(entries, list):
        raise TablesRefused([*errors, "[[schuldeiser]]: schrijf dubbele haken, één tabel per schuldeiser"])
    read = [_read_entry(table, nr, channels, errors) for nr, table in enumerate(entries, 1)]
    creditors = [creditor for creditor in read if creditor is not None]
    errors += _repetitions(creditors)
    errors += _strangers(creditors, {table.get("id") for table in entries if isinstance(table, dict)})
    if errors:
        raise TablesRefused(errors)
    return creditors


def difference(old: Iterable[Creditor], new: Iterable[Creditor]) -> list[Change]:
    """What changes from `old` to `new`, in the order of `new`, then what disappears."""
    before = {creditor.id: creditor for creditor in old}
    changes = []
    for creditor in new:
        was = before.pop(creditor.id, None)
        lines = _changed_lines({} if was is None else settings(was), settings(creditor))
        if was is None or lines:
            changes.append(Change("nieuw" if was is None else "gewijzigd", creditor.id, lines))
    return changes + [Change("vervallen", gone) for gone in before]


def settings(creditor: Creditor) -> dict[str, str]:
    """What the register says of a creditor, by Dutch key (`convenant.pauze`, `webhook.url`), defaults left out."""
    plain = Creditor(creditor.id, creditor.name)
    flat: dict[str, str] = {}
    _flatten(_as_table(creditor), "", flat)
    defaults: dict[str, str] = {}
    _flatten(_as_table(plain), "", defaults)
    return {key: value for key, value in flat.items() if key == "naam" or defaults.get(key) != value}


def creditor_to_json(creditor: Creditor) -> str:
    """As the ledger keeps it."""
    return msgspec.json.encode(creditor).decode()


def creditor_from_json(document: str) -> Creditor:
    return msgspec.json.decode(document, type=Creditor)


def endpoint_of(creditor: Creditor, channel: str) -> Endpoint:
    """What the adapter of `channel` is told about `creditor`."""
    return Endpoint(
        creditor=creditor.id,
        name=creditor.name,
        settings=creditor.endpoints[channel],
        concurrent=creditor.limit.concurrent,
        networks=creditor.networks,
        ca=creditor.ca,
    )


def _read_entry(table: object, nr: int, channels: Mapping[str, type[Channel]], errors: list[str]) -> Creditor | None:
    before = len(errors)
    place = _place(table, nr)
    own, endpoints = _split(table, channels)
    entry = read_record(_Entry, own, place, errors)
    for name, endpoint in endpoints.items():
        errors += _endpoint_faults(channels[name], endpoint, place)
    if entry is None:
        return None
    errors += _entry_faults(entry, endpoints, channels, place)
    return _creditor(entry, endpoints) if len(errors) == before else None


def _place(table: object, nr: int) -> str:
    """Names the entry by its id; by its number where that is no text."""
    name = table.get("id") if isinstance(table, dict) else None
    return f'schuldeiser "{name}"' if isinstance(name, str) and name.isprintable() else f"schuldeiser nr. {nr}"


def _split(table: object, channels: Mapping[str, type[Channel]]) -> tuple[object, dict[str, Any]]:
    """The keys of the entry itself, and the tables of its channels."""
    if not isinstance(table, dict):
        return table, {}
    own = {key: value for key, value in table.items() if key not in channels}
    return own, {key: value for key, value in table.items() if key in channels}


def _endpoint_faults(channel: type[Channel], endpoint: object, place: str) -> list[str]:
    if not isinstance(endpoint, dict):
        return [f"{place} {channel.name}: moet een tabel zijn"]
    try:
        channel.check_settings(endpoint)
    except SettingsRefused as why:
        return [f"{place} {line}" for line in str(why).splitlines()]
    return []


def _entry_faults(
    entry: _Entry, endpoints: Mapping[str, Any], channels: Mapping[str, type[Channel]], place: str
) -> list[str]:
    errors = []
    if not entry.channels:
        errors.append(f"{place} kanalen: noem er ten minste één")
    if len(set(entry.channels)) < len(entry.channels):
        errors.append(f"{place} kanalen: elk kanaal één keer")
    for name in entry.channels:
        if name not in channels:
            errors.append(f"{place} kanalen: {name} is geen kanaal; wel: {', '.join(sorted(channels))}")
        elif name not in endpoints:
            errors.append(f"{place} kanalen: {name} heeft geen tabel [schuldeiser.{name}]")
    errors += [f"{place} netwerken: {name} is geen netwerk" for name in entry.networks if not _is_network(name)]
    return errors


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _creditor(entry: _Entry, endpoints: Mapping[str, Any]) -> Creditor:
    values = {name: getattr(entry, name) for name in entry.__struct_fields__}
    covenant = entry.covenant
    values |= {
        "covenant": None if covenant is None else Covenant(**msgspec.structs.asdict(covenant)),
        "limit": Limit(entry.limit.concurrent, entry.limit.per_second),
        "endpoints": endpoints,
    }
    return Creditor(**values)


def _repetitions(creditors: Sequence[Creditor]) -> list[str]:
    errors = []
    for key in ("id", "kvk", "oin"):
        counts = Counter(getattr(creditor, key) for creditor in creditors)
        errors += [
            f'schuldeiser "{creditor.id}" {key}: heeft een ander ook'
            for creditor in creditors
            if getattr(creditor, key) is not None and counts[getattr(creditor, key)] > 1
        ]
    return errors


def _strangers(creditors: Iterable[Creditor], known: Iterable[object]) -> list[str]:
    """Agents that are not in the register. `known`: every id in the file, also of entries with other errors."""
    errors = []
    names = set(known)
    for creditor in creditors:
        for agent in creditor.agents:
            if agent not in names:
                errors.append(f'schuldeiser "{creditor.id}" vertegenwoordigers: {agent} staat niet in het register')
            if agent == creditor.id:
                errors.append(f'schuldeiser "{creditor.id}" vertegenwoordigers: noemt zichzelf')
    return errors


def _changed_lines(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        f"{key}: {old.get(key, '–')} → {new.get(key, '–')}" if old else f"{key}: {new[key]}"
        for key in dict.fromkeys([*new, *old])
        if old.get(key) != new.get(key)
    )


def _as_table(record: Struct) -> dict[str, Any]:
    """A creditor under the keys of the register."""
    names = _KEYS[type(record)]
    table = {key: getattr(record, name) for name, key in names.items()}
    return table | (dict(record.endpoints) if isinstance(record, Creditor) else {})


def _keys(table: type[Struct]) -> dict[str, str]:
    return {one.name: one.encode_name for one in msgspec.structs.fields(table)}


_KEYS: Mapping[type[Struct], dict[str, str]] = {
    Creditor: _keys(_Entry),
    Covenant: _keys(_Covenant),
    Limit: _keys(_Limit),
}


def _flatten(value: object, key: str, into: dict[str, str]) -> None:
    match value:
        case None | () | []:
            return
        case Term():
            into[key] = f"{value.amount} {value.unit}"
        case Struct():
            _flatten(_as_table(value), key, into)
        case Mapping():
            for name, inner in value.items():
                _flatten(inner, f"{key}.{name}" if key else str(name), into)
        case _:
            into[key] = _text(value)


def _text(value: object) -> str:
    match value:
        case bool():
            return "ja" if value else "nee"
        case timedelta():
            return f"{value / timedelta(hours=1):g} uur"
        case tuple() | list():
            return ", ".join(map(_text, value))
        case _:
            return str(value)
