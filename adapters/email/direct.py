"""Mail to a creditor's own mail exchangers, for gateways without a relay.

| what the exchanger shows                            | what is sent                             |
|-----------------------------------------------------|------------------------------------------|
| a key that its validated TLSA record names (DANE-EE)| the mail (RFC 7672 §3.1.1)               |
| TLSA records, and another key                       | nothing                                  |
| no such record, and a certificate in its own name   | the mail                                 |
| anything else                                       | a link without personal data (contract)  |
"""

import ssl
from collections.abc import Sequence
from hashlib import sha256, sha512
from ipaddress import ip_address
from typing import Final

import aiosmtplib
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.rdatatype
import dns.resolver
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Struct

from adapters.email import wire
from adapters.email.settings import EmailSettings, read_creditor
from adapters.email.submission import Pool, introduce
from gateway.contract import (
    Endpoint,
    Evidence,
    Finding,
    HandedOver,
    Outcome,
    RefusedForGood,
    client_ssl,
    connect_allowed,
)

_DANE_EE: Final = 3
_PORT: Final = 25


class DaneMismatch(OSError):
    """The exchanger showed another key than its TLSA records name: an impostor, or a rollover that went wrong."""


class NoMail(Exception):
    """The domain says that it takes no mail (RFC 7505)."""


class Pin(Struct, frozen=True):
    """The certificate data of a DANE-EE record (RFC 6698 §2.1): `selector` 1 is the public key, `matching` the hash."""

    selector: int
    matching: int
    data: bytes

    def fits(self, certificate: bytes) -> bool:
        """`certificate` in DER."""
        data = certificate if self.selector == 0 else _public_key(certificate)
        match self.matching:
            case 0:
                return data == self.data
            case 1:
                return sha256(data).digest() == self.data
            case 2:
                return sha512(data).digest() == self.data
            case _:
                return False


class Names:
    """Exchangers and their TLSA records, from the system's name servers."""

    def __init__(self, resolver: dns.asyncresolver.Resolver | None = None) -> None:
        self._resolver = resolver or dns.asyncresolver.Resolver()
        self._resolver.use_edns(0, dns.flags.DO, 1232)
        self._is_trusted = all(_is_loopback(str(server)) for server in self._resolver.nameservers)

    async def exchangers(self, domain: str) -> list[str]:
        """In order of preference; the domain itself where it names none (RFC 5321 §5.1).

        Raises NoMail; wire.DnsTrouble also where there is no such domain, for a zone that broke shows the same."""
        try:
            answer = await self._resolver.resolve(domain, "MX")
        except dns.resolver.NoAnswer:
            return [domain]
        except dns.exception.DNSException as why:
            raise wire.DnsTrouble(type(why).__name__) from why
        found = [
            record.exchange.to_text(omit_final_dot=True) for record in sorted(answer, key=lambda mx: mx.preference)
        ]
        if found in (["."], [""]):
            raise NoMail(domain)
        return found

    async def pins(self, host: str, port: int) -> list[Pin]:
        """DANE-EE records that were validated with DNSSEC; the word of a name server elsewhere is not taken for it."""
        if not self._is_trusted:
            return []
        try:
            answer = await self._resolver.resolve(f"_{port}._tcp.{host}", "TLSA")
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.DNSException as why:
            raise wire.DnsTrouble(type(why).__name__) from why
        if not answer.response.flags & dns.flags.AD:
            return []
        return [Pin(record.selector, record.mtype, record.cert) for record in answer if record.usage == _DANE_EE]


class Exchangers:
    """Dials the exchangers of one domain. `tls` verifies certificates; `domain` is how we introduce ourselves."""

    def __init__(
        self,
        names: Names,
        recipient_domain: str,
        networks: Sequence[str],
        tls: ssl.SSLContext,
        domain: str,
        port: int = _PORT,
    ) -> None:
        self._names = names
        self._recipient_domain = recipient_domain
        self._networks = networks
        self._tls = tls
        self._domain = domain
        self._port = port

    async def dial_verified(self) -> aiosmtplib.SMTP:
        """The first exchanger whom TLS shows to be the one meant. Raises NoMail, wire.NoTls, wire.FAILED."""
        failures: list[BaseException] = []
        for host in await self._names.exchangers(self._recipient_domain):
            try:
                return await self._dial(host, await self._names.pins(host, self._port))
            except wire.FAILED as why:
                failures.append(why)
        raise _worst(failures)

    async def dial_any(self) -> aiosmtplib.SMTP:
        """The first exchanger that answers, with whatever TLS it has: not for personal data."""
        failures: list[BaseException] = []
        for host in await self._names.exchangers(self._recipient_domain):
            try:
                return await self._opportunistic(host)
            except wire.FAILED as why:
                failures.append(why)
        raise failures[-1]

    async def _dial(self, host: str, pins: Sequence[Pin]) -> aiosmtplib.SMTP:
        client = await self._connect(host)
        try:
            await client.starttls(tls_context=_unverified() if pins else self._tls, server_hostname=host)
            if pins and not any(pin.fits(_certificate(client)) for pin in pins):
                raise DaneMismatch(host)
        except BaseException:
            client.close()
            raise
        await introduce(client)
        return client

    async def _opportunistic(self, host: str) -> aiosmtplib.SMTP:
        client = await self._connect(host)
        try:
            await client.ehlo()
            if client.supports_extension("starttls"):
                await client.starttls(tls_context=_unverified(), server_hostname=host)
        except BaseException:
            client.close()
            raise
        await introduce(client)
        return client

    async def _connect(self, host: str) -> aiosmtplib.SMTP:
        sock = await connect_allowed(host, self._port, self._networks)
        client = aiosmtplib.SMTP(sock=sock, hostname=host, local_hostname=self._domain, start_tls=False, timeout=None)
        await client.connect()
        return client


class DirectRoute:
    """Mail to one creditor's domain, on connections of its own."""

    def __init__(self, settings: EmailSettings, endpoint: Endpoint, names: Names, port: int = _PORT) -> None:
        """Reads `ca`. Raises SettingsRefused, SecretMissing."""
        self._domain = read_creditor(endpoint.settings).adres.partition("@")[2]
        tls = client_ssl(endpoint.ca)
        exchangers = Exchangers(names, self._domain, endpoint.networks, tls, settings.domain, port)
        self._dial = exchangers.dial_verified
        self._verified = Pool(exchangers.dial_verified, endpoint.concurrent, is_relay=False)
        self._any = Pool(exchangers.dial_any, 1, is_relay=False)

    async def deliver(self, envelope: wire.Envelope, body: bytes, deadline: float) -> Outcome:
        mail, _, bare = body.partition(wire.BARE_SEPARATOR)
        try:
            try:
                return await self._verified.deliver(envelope, mail, deadline)
            except wire.NoTls as why:
                if not bare:  # a link alone is of no use to who has no klantnummer to type
                    return RefusedForGood(Evidence("geen_tls", str(why).encode()))
                return _only_link(await self._any.deliver(envelope, bare, deadline))
        except NoMail:
            return RefusedForGood(Evidence("geen_mail"))

    async def look(self) -> Finding:
        """Connect and verify; send nothing."""
        try:
            client = await self._dial()
        except NoMail:
            return Finding(False, f"{self._domain}: dit domein ontvangt geen mail")
        except wire.NoTls:
            return Finding(False, f"{self._domain}: geen controleerbaar TLS; er gaat alleen een link heen")
        except wire.FAILED as why:
            return Finding(False, f"{self._domain}: {wire.failure_text(why)}")
        client.close()
        return Finding(True, f"{self._domain}: mailserver bereikbaar, TLS gecontroleerd")

    async def aclose(self) -> None:
        await self._verified.aclose()
        await self._any.aclose()


def _only_link(outcome: Outcome) -> Outcome:
    """The evidence says that it was no more than a link."""
    if not isinstance(outcome, HandedOver):
        return outcome
    evidence = Evidence(f"{outcome.evidence.code}-alleen-link", outcome.evidence.reply)
    return msgspec.structs.replace(outcome, evidence=evidence)


def _worst(failures: Sequence[BaseException]) -> BaseException:
    """A wrong key outweighs all: then nothing is sent, not even a link."""
    for why in failures:
        if isinstance(why, DaneMismatch):
            return why
    for why in failures:
        if wire.is_unverified(why) or not isinstance(why, OSError | aiosmtplib.SMTPResponseException):
            return wire.NoTls(str(why))
    return failures[-1]


def _unverified() -> ssl.SSLContext:
    """For a peer that DANE identifies by its key, or that gets nothing but a link."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _certificate(client: aiosmtplib.SMTP) -> bytes:
    peer: ssl.SSLObject = client.get_transport_info("ssl_object")
    return peer.getpeercert(binary_form=True) or b""


def _public_key(certificate: bytes) -> bytes:
    key = x509.load_der_x509_certificate(certificate).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _is_loopback(server: str) -> bool:
    try:
        return ip_address(server).is_loopback
    except ValueError:
        return False
