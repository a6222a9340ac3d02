"""Bytes of the CJIB-style API: requests, and what its replies mean. Pure.

ontvangen, in_behandeling ─► proof of receipt (level 2)
afgehandeld, no zaken             ─► klant_onbekend
             all stilgelegd       ─► pauze_ingesteld, until the earliest end
             some                 ─► pauze_gedeeltelijk, a vordering per zaak
             none                 ─► niet_in_aanmerking
"""

import hashlib
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec
from yarl import URL

from gateway.contract import (
    DeliveryId,
    Evidence,
    HandedOver,
    Inbound,
    Outcome,
    OwnFault,
    Parcel,
    Proof,
    RefusedForGood,
    Reply,
    Transient,
    read_json,
    refusal,
    retry_after,
)

REQUESTS: Final = "v1/stabilisatieverzoeken"
REQUESTING: Final = frozenset({"kennisgeving"})
"""Messages that are a request, which has our reference; all others go to one."""
ASSERTION_SECONDS: Final = 240
"""Contract: at most five minutes."""
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_AGE_SHARE = 10  # polled about every tenth of the time it has been waiting
_LONGEST_REASON = 1000


class Case(msgspec.Struct, frozen=True, rename="camel"):
    """One zaak, as the API reports it. An end date is inclusive."""

    zaaknummer: str
    stilgelegd: bool
    tot_en_met: str | None = None
    reden: str | None = None


class Request(msgspec.Struct, frozen=True):
    """A stabilisatieverzoek, as the API reports it."""

    id: str
    kenmerk: str
    status: Literal["ontvangen", "in_behandeling", "afgehandeld"]
    zaken: tuple[Case, ...] | None = None


class Found(msgspec.Struct, frozen=True):
    stabilisatieverzoeken: tuple[Request, ...]

    def of(self, kenmerk: str) -> Request | None:
        """A server that ignores the question gives others too."""
        return next((request for request in self.stabilisatieverzoeken if request.kenmerk == kenmerk), None)


class Claim(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    kenmerk: str
    soort: str
    tot_en_met: str | None = None
    reden: str | None = None


class Answer(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An answer of contract §4, as far as this API can give one."""

    soort: str
    tot_en_met: str | None = None
    vorderingen: tuple[Claim, ...] = ()
    reden: str | None = None


class Token(msgspec.Struct, frozen=True):
    """A token reply (RFC 6749 §5.1). `expires_in` in seconds."""

    access_token: str
    expires_in: float = 60.0


# -- token


def claims(client_id: str, issuer: str, now: datetime, jti: str) -> dict[str, str | int]:
    """What a private_key_jwt says (RFC 7523 §3); `issuer` is the setting `uitgever`."""
    issued = int(now.timestamp())
    return {
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "iat": issued,
        "exp": issued + ASSERTION_SECONDS,
        "jti": jti,
    }


def token_form(assertion: str) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_assertion_type": _ASSERTION_TYPE,
        "client_assertion": assertion,
    }


def token(reply: Reply, now: datetime) -> Token | Transient | OwnFault:
    """Refused credentials are our own fault; nothing of the delivery was sent yet."""
    if not reply.is_success:
        outcome = refusal(reply.status, reply.evidence, retry_after(reply.headers.get("Retry-After"), now))
        return outcome if isinstance(outcome, Transient) else OwnFault(_marked("token", reply.evidence))
    return read_json(reply.body, Token) or Transient(_without_body(_marked("token", reply.evidence)))


def _marked(stage: str, evidence: Evidence) -> Evidence:
    return Evidence(f"{stage}_{evidence.code}", evidence.reply)


def _without_body(evidence: Evidence) -> Evidence:
    """What looks like a token reply may hold a token: it is not kept."""
    return Evidence(evidence.code, evidence.reply.partition(b"\r\n\r\n")[0])


# -- handing over


def follows(parcel: Parcel) -> bool:
    """It goes to an earlier request, and is none itself."""
    return parcel.soort not in REQUESTING or parcel.notice_reference is not None


def lacks_reference(parcel: Parcel) -> bool:
    """It goes to an earlier request of which the path is not known."""
    return follows(parcel) and parcel.notice_reference is None


def target(root: URL, parcel: Parcel) -> URL:
    """Where a message is posted: what follows a notice goes to that notice, under the path the API gave it."""
    return root / REQUESTS if parcel.notice_reference is None else at(root, parcel.notice_reference + "/berichten")


def reading(access_token: str) -> dict[str, str]:
    """The headers of a GET."""
    return {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}


def headers(access_token: str, parcel: Parcel) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {access_token}",
        "Content-Type": "application/json",
        "Idempotency-Key": f'"{parcel.delivery}"',
    }


def outcome(reply: Reply, root: URL, parcel: Parcel, now: datetime) -> Outcome:
    """A 401 is for the adapter to answer with a fresh token first."""
    if reply.is_success:
        return handed_over(reply, root, parcel.notice_reference)
    match reply.status:
        case 401 | 403:
            return OwnFault(reply.evidence)
        case 409:  # the first attempt with this key is still being worked on
            return Transient(reply.evidence, _wait(reply, now))
        case 422:  # this key was used before, with another body
            return RefusedForGood(reply.evidence, other_content=True)
        case 410 if parcel.notice_reference is not None:  # that request is gone, not the API
            return RefusedForGood(reply.evidence)
        case _:
            return refusal(reply.status, reply.evidence, _wait(reply, now))


def handed_over(reply: Reply, root: URL, notice_reference: str | None) -> HandedOver:
    """The reference of a later message is that of its notice: it is what can be asked about."""
    request = read_request(reply.body)
    proof: Final = Proof.RECEIVED if request else Proof.TRANSPORT
    if notice_reference is not None:
        return HandedOver(reply.evidence, proof, None, notice_reference)
    reference = location(reply, root) or (path_of(request, root) if request else None)
    return HandedOver(reply.evidence, proof, answer(request) if request else None, reference)


def resolved(reply: Reply, root: URL, kenmerk: str) -> HandedOver | Transient | None:
    """What the reply to `?kenmerk=` says of a delivery that may have arrived; None: it did not."""
    found = read_found(reply.body)
    if found is None:
        return Transient(Evidence("onleesbaar", reply.evidence.reply))
    request = found.of(kenmerk)
    if request is None:
        return None
    return HandedOver(reply.evidence, Proof.RECEIVED, answer(request), path_of(request, root))


def location(reply: Reply, root: URL) -> str | None:
    """The path of a Location, which may be a path or absolute; one at another origin is not followed."""
    value = reply.headers.get("Location")
    if not value:
        return None
    try:
        url = root.join(URL(value, encoded=True))
        return url.raw_path if url.origin() == root.origin() else None
    except ValueError:
        return None


def at(root: URL, path: str) -> URL:
    """A path that the API gave, at its own origin: never a host out of what a peer wrote."""
    return root.origin().with_path(path, encoded=True)


def path_of(request: Request, root: URL) -> str:
    return (root / REQUESTS / request.id).raw_path


def _wait(reply: Reply, now: datetime) -> float | None:
    return retry_after(reply.headers.get("Retry-After"), now)


# -- what the API says of a request


def read_request(body: bytes | None) -> Request | None:
    """None where the body is not a stabilisatieverzoek."""
    return read_json(body, Request)


def read_found(body: bytes | None) -> Found | None:
    """None where the body is not the reply to `?kenmerk=`."""
    return read_json(body, Found)


def answer(request: Request) -> bytes | None:
    """The answer of contract §4, as JSON; None as long as there is none."""
    return msgspec.json.encode(_decision(request.zaken or ())) if request.status == "afgehandeld" else None


def _decision(cases: tuple[Case, ...]) -> Answer:
    paused = [case for case in cases if case.stilgelegd]
    if not cases:
        return Answer("klant_onbekend")
    if not paused:
        reasons = list(dict.fromkeys(case.reden for case in cases if case.reden))
        return Answer("niet_in_aanmerking", reden="; ".join(reasons)[:_LONGEST_REASON] or None)
    end = min((case.tot_en_met for case in paused if case.tot_en_met), default=None)
    if len(paused) == len(cases):
        return Answer("pauze_ingesteld", end)
    return Answer("pauze_gedeeltelijk", end, tuple(_claim(case) for case in cases))


def _claim(case: Case) -> Claim:
    soort = "pauze_ingesteld" if case.stilgelegd else "niet_in_aanmerking"
    return Claim(case.zaaknummer, soort, case.tot_en_met, case.reden)


def inbound(creditor: str, delivery: DeliveryId, path: str, body: bytes) -> Inbound:
    """What a poll found, named by path, status and content, so that an unchanged one is recognised."""
    request = read_request(body)
    if request is None:
        source = _source(path, "onleesbaar", body, delivery)
        return Inbound("human", creditor, delivery, source, body, None, "onleesbaar")
    source = _source(path, request.status, msgspec.json.encode(request), delivery)
    given = answer(request)
    return Inbound("answer" if given else "receipt", creditor, delivery, source, body, given, request.status)


def _source(path: str, status: str, content: bytes, delivery: DeliveryId) -> str:
    return f"{path} {status} {hashlib.sha256(content).hexdigest()[:16]} {delivery}"


def is_due(waiting: timedelta, since_last: float, every: float, at_most: float) -> bool:
    """Whether to ask again, `since_last` seconds after it was asked (inf: never was): the longer it takes, the less
    often, between `every` and `at_most` seconds."""
    return since_last >= min(max(every, waiting.total_seconds() / _AGE_SHARE), at_most)
