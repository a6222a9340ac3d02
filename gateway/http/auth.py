"""Who a request comes from: the client of an OAuth2 token, or the OIN in a client certificate.

On the listener for certificates only a certificate counts, elsewhere only a token: which one is meant is never a guess.
"""

import json
import ssl
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from gateway.clock import Clock
from gateway.config import OAuth2Settings
from gateway.contract import SecretMissing, SettingsRefused, read_secret
from gateway.core.errors import Code, Violation
from gateway.core.notice import Sender
from gateway.http.doors import Doors
from gateway.http.problems import Problem
from gateway.log import logger

log = logger(__name__)

ALGORITHMS = ("PS256", "RS256", "ES256", "Ed25519")
"""Asymmetric ones only; Ed25519 under its old name EdDSA too (RFC 9864)."""
CLOCK_SKEW = 30
"""Seconds that an issuer's clock may be ahead of ours."""
REREAD_AFTER = 10.0
"""Seconds between two looks for a key that a token names and we do not have."""
_ASYMMETRIC = frozenset({"RSA", "EC", "OKP"})
_CLIENT_CLAIMS = ("client_id", "azp", "sub")


class TokenRefused(Exception):
    """A bearer token is not one of ours, not for us, or no longer valid."""


class Gatekeeper:
    """Raises SettingsRefused, SecretMissing when the keys of the token issuer cannot be read."""

    def __init__(self, doors: Doors) -> None:
        self._by_client = doors.senders_by_client
        self._by_oin = doors.senders_by_oin
        oauth2 = doors.settings.oauth2
        self._tokens = Tokens(oauth2, doors.clock) if oauth2 else None

    def sender_of(self, request: web.Request) -> Sender:
        """Raises Problem 401."""
        tls = request.get_extra_info("sslcontext")
        if isinstance(tls, ssl.SSLContext) and tls.verify_mode is not ssl.CERT_NONE:
            return self._by_certificate(request.get_extra_info("peercert"))
        return self._by_token(request.headers.getall("Authorization", []))

    def _by_certificate(self, certificate: dict[str, Any] | None) -> Sender:
        """PKIoverheid certificates carry the OIN as serialNumber of their subject."""
        if not certificate:
            raise _unauthorised("Hier is een clientcertificaat nodig.")
        pairs = [pair for part in certificate.get("subject", ()) for pair in part]
        numbers = [value for name, value in pairs if name == "serialNumber"]
        if len(numbers) != 1:
            raise _unauthorised("Het certificaat heeft geen OIN (subject serialNumber).")
        return _known(self._by_oin.get(numbers[0]))

    def _by_token(self, headers: list[str]) -> Sender:
        if self._tokens is None:
            raise _unauthorised("Aanmelden gaat met een clientcertificaat, op het adres daarvoor.")
        scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
        if scheme.lower() != "bearer":
            raise _unauthorised("Stuur Authorization: Bearer met een toegangstoken.")
        try:
            return _known(self._by_client.get(self._tokens.client_of(token.strip())))
        except TokenRefused as why:
            raise _unauthorised(str(why), 'error="invalid_token"') from why


class Tokens:
    """Verifies access tokens (RFC 9068 in spirit: signed by the issuer, for us, not expired)."""

    def __init__(self, settings: OAuth2Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._registry = _Signatures(algorithms=ALGORITHMS, strict_check_header=False)
        self._keys = _read_keys(settings.keys)
        self._read_at = clock.monotonic()

    def client_of(self, token: str) -> str:
        """The client that a valid token speaks for; raises TokenRefused."""
        claims = self._verified(token)
        client = next((claims[name] for name in _CLIENT_CLAIMS if claims.get(name) is not None), None)
        if not isinstance(client, str):
            raise TokenRefused("Het token noemt geen client.")
        return client

    def _verified(self, token: str) -> dict[str, Any]:
        now = self._clock.micros() // 1_000_000
        wanted = jwt.JWTClaimsRegistry(
            now=now,
            leeway=CLOCK_SKEW,
            iss={"essential": True, "value": self._settings.issuer},
            aud={"essential": True, "value": self._settings.audience},
            exp={"essential": True},
        )
        try:
            claims = self._decoded(token)
            wanted.validate(claims)
        except (JoseError, ValueError, TypeError, RecursionError) as why:
            raise TokenRefused("Het token is niet geldig voor deze dienst.") from why
        if claims["exp"] <= now:  # the skew is for what an issuer wrote just now, not for what has ended
            raise TokenRefused("Het token is verlopen.")
        return claims

    def _decoded(self, token: str) -> dict[str, Any]:
        try:
            return jwt.decode(token, self._keys, registry=self._registry).claims
        except InvalidKeyIdError:
            if not self._reread():
                raise
            return jwt.decode(token, self._keys, registry=self._registry).claims

    def _reread(self) -> bool:
        """Look for new keys, so that the issuer can change them without a restart of ours."""
        if self._clock.monotonic() - self._read_at < REREAD_AFTER:
            return False
        self._read_at = self._clock.monotonic()
        try:
            self._keys = _read_keys(self._settings.keys)
        except (SettingsRefused, SecretMissing) as why:
            log.error("jwks_unreadable", instelling="http.oauth2.jwks", reden=str(why))
            return False
        return True


class _Signatures(JWSRegistry):
    def get_alg(self, name: str) -> Any:
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


def _read_keys(reference: str) -> KeySet:
    try:
        found = KeySet.import_key_set(json.loads(read_secret(reference)))
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as why:
        raise SettingsRefused(f"[http] oauth2.jwks: {reference} bevat geen JWKS") from why
    keys = [key for key in found.keys if key.key_type in _ASYMMETRIC]
    if not keys:
        raise SettingsRefused(f"[http] oauth2.jwks: {reference} bevat geen publieke sleutel")
    return KeySet(keys)


def _known(sender: Sender | None) -> Sender:
    if sender is None:
        unknown = Violation("", Code.SENDER_UNKNOWN, "deze afzender is hier niet bekend")
        raise _unauthorised("U bent hier niet als afzender bekend.", 'error="invalid_token"', [unknown])
    return sender


def _unauthorised(detail: str, error: str = "", violations: list[Violation] | None = None) -> Problem:
    """RFC 6750 §3: without credentials no error code, with them one."""
    challenge = 'Bearer realm="kennisgeving"' + (f", {error}" if error else "")
    return Problem(401, detail, violations or (), {"WWW-Authenticate": challenge})
