"""The certificates that deliveries and answers depend on, and when each ends.

By the names of the contract: `certificaat` and `ca` in `gateway.toml`, in the register and in the tables of channels.
"""

from collections.abc import Iterable, Iterator, Mapping

from cryptography import x509
from msgspec import Struct

from gateway.config import Config
from gateway.contract import SecretMissing, SettingsRefused, read_secret
from gateway.core.creditor import Creditor


class Certificate(Struct, frozen=True):
    """`setting` as in the file it stands in (`http.certificaat`); `creditor` and `channel` are "" where it is about
    none; `ends` in epoch seconds."""

    setting: str
    creditor: str
    channel: str
    ends: float


class Named(Struct, frozen=True):
    """A certificate that some setting refers to."""

    setting: str
    reference: str
    creditor: str = ""
    channel: str = ""


def certificates(config: Config, creditors: Iterable[Creditor]) -> list[Certificate]:
    """Reads files. What cannot be read is left out: `check` and the log say so in their own words."""
    found = []
    for one in (*_of_gateway(config), *_of_register(creditors)):
        ends = _end(one.reference)
        if ends is not None:
            found.append(Certificate(one.setting, one.creditor, one.channel, ends))
    return found


def _of_gateway(config: Config) -> Iterator[Named]:
    settings = (
        ("http.certificaat", config.http.certificate),
        ("http.ca", config.http.ca),
        ("amqp.ca", config.amqp.ca if config.amqp else None),
    )
    yield from (Named(setting, reference) for setting, reference in settings if reference)
    for channel, table in config.channels.items():
        yield from _of_table(channel, table)


def _of_register(creditors: Iterable[Creditor]) -> Iterator[Named]:
    for creditor in creditors:
        if creditor.ca:
            yield Named("ca", creditor.ca, creditor.id)
        for channel in creditor.channels:
            yield from _of_table(channel, creditor.endpoints.get(channel, {}), creditor.id)


def _of_table(channel: str, table: Mapping[str, object], creditor: str = "") -> Iterator[Named]:
    for key in ("certificaat", "ca"):
        reference = table.get(key)
        if isinstance(reference, str):
            yield Named(f"{channel}.{key}", reference, creditor, channel)


def _end(reference: str) -> float | None:
    """When the last of those in the file ends: a bundle of anchors is of use until then."""
    try:
        found = x509.load_pem_x509_certificates(read_secret(reference))
    except (SecretMissing, SettingsRefused, ValueError):
        return None
    return max(certificate.not_valid_after_utc.timestamp() for certificate in found)
