"""What is written about a delivery besides its state: events, tasks, answers with their raw bytes, answer pages."""

import hashlib
import hmac
from collections.abc import Callable, Collection
from typing import Protocol

import msgspec
from msgspec import structs

from gateway.contract import DeliveryId, Inbound, Rendition
from gateway.core.answer import Answer, contradicts, is_transfer, meaning, parse_answer, said, to_wire
from gateway.core.creditor import Register
from gateway.core.errors import Violation
from gateway.core.lane import Decision, Standing, bounced
from gateway.core.lifecycle import State
from gateway.core.outcome import HandedOver, Outcome, evidence_of
from gateway.core.progress import Effect, answer_effect, receipt_effect
from gateway.core.task import GUIDES, TaskKind
from gateway.events import Events
from gateway.ids import uuid7
from gateway.ledger.evidence import Record, Subject, reply_source
from gateway.ledger.outbox import Event
from gateway.ledger.queue import Claimed
from gateway.ledger.settle import Settlement
from gateway.ledger.tasks import Task
from gateway.seal import Sealer, aad


class About(Protocol):
    """The delivery that something is written about: a claim or a row under lock."""

    @property
    def id(self) -> str: ...
    @property
    def dossier_id(self) -> str: ...
    @property
    def key(self) -> bytes: ...
    @property
    def gemeente(self) -> str: ...
    @property
    def kenmerk(self) -> str: ...
    @property
    def creditor(self) -> str: ...
    @property
    def versie(self) -> int: ...
    @property
    def channel(self) -> str: ...


def normal_reference(typed: str) -> str:
    """As references are compared (contract: trimmed, case-folded, spaces ignored)."""
    return "".join(typed.split()).casefold()


class Testimony:
    """Builds the rows; decides nothing that core does not say. `page_key` makes the hashes of answer pages; `register`
    gives the one in force."""

    def __init__(
        self,
        sealer: Sealer,
        events: Events,
        page_key: bytes,
        register: Callable[[], Register],
        new_id: Callable[[int], str] = uuid7,
    ) -> None:
        self._register = register
        self._sealer = sealer
        self._events = events
        self._page_key = page_key
        self._new_id = new_id

    # -- answer pages -----------------------------------------------------------------------------------------------

    def token_hash(self, token: str) -> bytes:
        return hmac.digest(self._page_key, b"token:" + token.encode(), "sha256")

    def reference_hash(self, delivery: str, typed: str) -> str:
        return hmac.digest(self._page_key, f"{delivery}:{normal_reference(typed)}".encode(), "sha256").hex()

    def page_of(self, delivery: str, rendition: Rendition) -> tuple[bytes | None, str]:
        """Hash of the rendition's token and hashes of the references that open its page."""
        if rendition.answer_token is None:
            return None, ""
        hashes = " ".join(self.reference_hash(delivery, reference) for reference in rendition.references)
        return self.token_hash(rendition.answer_token), hashes

    # -- after an attempt -------------------------------------------------------------------------------------------

    def settlement(
        self, claimed: Claimed, decision: Decision, outcome: Outcome, before: str | None, at: int
    ) -> Settlement:
        """The decision with its events and tasks, and with the answer where the reply carried one.

        `before`: what the creditor had decided until then.
        """
        level = outcome.proof if isinstance(outcome, HandedOver) else 0
        events = [self._event(name, claimed, level, at) for name in decision.events]
        tasks = [self._task(decision.task, claimed, at)] if decision.task else []
        raw = outcome.answer if isinstance(outcome, HandedOver) else None
        if raw is None:
            return Settlement(decision, tuple(events), tuple(tasks))
        source = reply_source(claimed.fence)
        answer = parse_answer(raw)
        if not isinstance(answer, Answer):
            row = self._row(claimed, "invalid", source, claimed.creditor, raw, None, at)
            tasks.append(self._task(TaskKind.ANSWER_INVALID, claimed, at))
            return Settlement(decision, tuple(events), tuple(tasks), row)
        effect = self._effect(answer, decision.state, decision.proof, claimed.soort)
        decided = structs.replace(
            decision,
            steps=(*decision.steps, (effect.happening, effect.state)),
            proof=effect.proof,
            said=said(answer, self._find),
            reviews=True,
        )
        events += [self._answer_event(name, claimed, decided.proof, answer, at) for name in effect.events]
        tasks += [self._task(kind, claimed, at) for kind in self._asks(answer, before)]
        row = self._row(claimed, "answer", source, claimed.creditor, evidence_of(outcome).reply or raw, answer, at)
        return Settlement(decided, tuple(events), tuple(tasks), row)

    def late_answer(self, subject: Subject, claimed: Claimed, outcome: Outcome, at: int) -> Record | None:
        """The answer that came with the reply to an attempt whose claim was lost: it is the creditor's all the same."""
        if not isinstance(outcome, HandedOver) or outcome.answer is None:
            return None
        source, raw = reply_source(claimed.fence), outcome.evidence.reply or outcome.answer
        delivery = DeliveryId(subject.id)
        inbound = Inbound("answer", subject.creditor, delivery, source, raw, outcome.answer, channel=claimed.channel)
        answer = parse_answer(outcome.answer)
        if not isinstance(answer, Answer):
            return self.invalid_record(subject, inbound, at)
        return self.record_of(subject, inbound, answer, {subject.creditor}, (), at)

    # -- what came in -----------------------------------------------------------------------------------------------

    def record_of(
        self,
        subject: Subject,
        inbound: Inbound,
        answer: Answer | None,
        authors: Collection[str],
        channels: tuple[str, ...],
        at: int,
    ) -> Record | None:
        """What to write about `inbound`; None where its author may not speak for this delivery.

        `authors`: the creditor and its agents; `channels`: those still open for it.
        """
        if inbound.creditor is not None and inbound.creditor not in authors:
            return None
        row = self._inbound_row(subject, inbound, inbound.kind, answer, at)
        if inbound.kind == "human":
            return Record(row, tasks=(self._task(TaskKind.ANSWER_BY_PERSON, subject, at),))
        if inbound.kind == "bounce":  # what was withdrawn goes nowhere any more
            return self._bounce(subject, row, () if subject.is_withdrawn else channels, at)
        effect = (
            receipt_effect(subject.state, subject.proof, subject.soort)
            if answer is None
            else self._effect(answer, subject.state, subject.proof, subject.soort)
        )
        return Record(
            row,
            happening=effect.happening,
            state=effect.state,
            proof=effect.proof,
            said=None if answer is None else said(answer, self._find),
            events=tuple(self._answer_event(name, subject, effect.proof, answer, at) for name in effect.events),
            tasks=tuple(self._task(kind, subject, at) for kind in self._asks(answer, subject.decision)),
        )

    def invalid_record(self, subject: Subject, inbound: Inbound, at: int) -> Record:
        """An answer that breaks the contract: kept, moves nothing, and a person looks at it."""
        row = self._inbound_row(subject, inbound, "invalid", None, at)
        return Record(row, tasks=(self._task(TaskKind.ANSWER_INVALID, subject, at),))

    def _bounce(self, subject: Subject, row: dict[str, object], channels: tuple[str, ...], at: int) -> Record:
        decision = bounced(
            Standing(
                state=subject.state,
                soort=subject.soort,
                tries=subject.tries,
                channel=subject.channel,
                channel_since=subject.channel_since,
                created_at=subject.created_at,
                give_up_at=subject.give_up_at,
                proof=subject.proof,
                channels=channels,
            ),
            str(row["channel"]),
            at,
        )
        if decision is None:
            return Record(row)
        happening, state = decision.steps[-1]
        return Record(
            row,
            happening=happening,
            state=state,
            proof=decision.proof,
            channel=decision.channel,
            next_action_at=decision.next_action_at,
            events=tuple(self._event(name, subject, 0, at) for name in decision.events),
            tasks=(self._task(decision.task, subject, at),) if decision.task else (),
        )

    # -- parts ------------------------------------------------------------------------------------------------------

    def _find(self, name: str) -> str | None:
        """The register id behind a name as a creditor wrote it."""
        found = self._register().find(name)
        return found.id if found else None

    def _asks(self, answer: Answer | None, before: str | None) -> list[TaskKind]:
        """What a person must look at because of an answer; `before`: the decision until then."""
        if answer is None:
            return []
        wanted = {
            TaskKind.ANSWER_REFUSES: meaning(answer) == "refuses",
            TaskKind.ANSWER_CONTRADICTS: contradicts(before, answer),
            TaskKind.AGENT_UNKNOWN: is_transfer(answer) and said(answer, self._find).transferred_to is None,
        }
        return [kind for kind, is_wanted in wanted.items() if is_wanted]

    def _effect(self, answer: Answer, state: State, proof: int, soort: str) -> Effect:
        said = meaning(answer)
        return receipt_effect(state, proof, soort) if said == "receipt" else answer_effect(state, said)

    def _event(self, name: str, about: About, level: int, at: int) -> Event:
        """`level`: strength of the proof that the attempt itself gave."""
        proof = level if name in ("bezorging-afgeleverd", "ontvangst-bevestigd") else None
        channel = about.channel if name == "bezorging-afgeleverd" else None
        return self._about(name, about, at, kanaal=channel, bewijskracht=proof)

    def _answer_event(self, name: str, about: About, proof: int, answer: Answer | None, at: int) -> Event:
        if name != "antwoord-ontvangen" or answer is None:
            return self._about(name, about, at, bewijskracht=proof)
        return self._about(name, about, at, antwoord=to_wire(answer))

    def _about(self, name: str, about: About, at: int, **more: object) -> Event:
        return self._events.make(
            name,
            at,
            about.gemeente,
            (about.dossier_id, about.key),
            dossierkenmerk=about.kenmerk,
            versie=about.versie,
            schuldeiser=about.creditor,
            bezorging=about.id,
            **more,
        )

    def _task(self, kind: TaskKind, about: About, at: int) -> Task:
        return Task(
            id=self._new_id(at),
            soort=kind,
            created_at=at,
            detail=GUIDES[kind].detail,
            gemeente=about.gemeente,
            dossier_id=about.dossier_id,
            delivery_id=about.id,
            creditor=about.creditor,
        )

    def _inbound_row(
        self, subject: Subject, inbound: Inbound, kind: str, answer: Answer | None, at: int
    ) -> dict[str, object]:
        """With the channel that it came over, which is not always the one that the delivery is on by now."""
        author = inbound.creditor or subject.creditor
        row = self._row(subject, kind, inbound.source, author, inbound.raw, answer, at)
        return {**row, "channel": inbound.channel or subject.channel}

    def _row(
        self, about: About, kind: str, source: str, author: str, raw: bytes, answer: Answer | None, at: int
    ) -> dict[str, object]:
        identifier = self._new_id(at)
        wire = None if answer is None else msgspec.json.encode(to_wire(answer))
        return {
            "id": identifier,
            "delivery_id": about.id,
            "creditor": author,
            "channel": about.channel,
            "kind": kind,
            "soort": None if answer is None else str(answer.soort),
            "source": source,
            "digest": hashlib.sha256(raw).digest(),
            "raw": self._sealer.seal(about.key, raw, aad("evidence", identifier, "raw")),
            "answer": None
            if wire is None
            else self._sealer.seal(about.key, wire, aad("evidence", identifier, "answer")),
            "received_at": at,
        }


def reasons(violations: Collection[Violation]) -> tuple[str, ...]:
    """Violations as lines for whoever sent the answer: field and rule, never a value."""
    return tuple(f"{violation.pad}: {violation.melding} ({violation.code})" for violation in violations)
