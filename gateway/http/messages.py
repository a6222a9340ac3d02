"""`POST /v1/berichten`: the door for senders without a broker."""

import asyncio
from collections.abc import Mapping

from aiohttp import web

from gateway.core.errors import Code, Violation
from gateway.core.notice import Sender
from gateway.core.validate import READABLE_BYTES
from gateway.http.body import read_beginning
from gateway.http.problems import Problem, as_json
from gateway.http.records import Received
from gateway.http.routes import POST_MESSAGE
from gateway.intake import Accepted, Arrival, Duplicate, Intake, Quarantined, Refused, Verdict

AT_ONCE = 100
"""Messages committed together."""

_CONFLICTS = frozenset({Code.OTHER_MESSAGE_SAME_ID, Code.VERSION_EXISTS})


class Messages:
    def __init__(self, intake: Intake) -> None:
        self._gathering = Gathering(intake)

    async def take(self, sender: Sender, _: Mapping[str, str], request: web.Request) -> web.Response:
        """202 new, 200 had it; raises Problem, LedgerAway. What is refused is on record, as over any other door."""
        if request.content_type not in POST_MESSAGE.body_types:
            raise Problem(415, f"Stuur {' of '.join(POST_MESSAGE.body_types)}.")
        body = await read_beginning(request, READABLE_BYTES + 1)  # that one byte more makes it too large to read
        arrival = Arrival(door="http", sender=sender, body=body, user=sender.client_id or sender.oin)
        match await self._gathering.accept(arrival):
            case Accepted(message=message, held=held):
                return as_json(Received("wacht" if held else "aangenomen", message), 202)
            case Duplicate():
                return as_json(Received("bekend"), 200)
            case Refused(violations=violations):
                raise refusal(violations)
            case Quarantined(reason=reason):
                raise Problem(403, reason)


def refusal(violations: tuple[Violation, ...]) -> Problem:
    """The refusal of a message as the contract has it: 413, 409, 403 when nothing else is wrong, else 400."""
    codes = {violation.code for violation in violations}
    if Code.TOO_LARGE in codes:
        return Problem(413, "Een bericht is ten hoogste 65.536 bytes.", violations)
    if codes & _CONFLICTS:
        return Problem(409, "Er is al een ander bericht met dit kenmerk of deze versie.", violations)
    if codes == {Code.GEMEENTE_NOT_OF_SENDER}:
        return Problem(403, "U mag niet voor deze gemeente berichten sturen.", violations)
    return Problem(400, "Het bericht voldoet niet; fouten noemt alles wat er mis is.", violations)


class Gathering:
    """Group commit: what comes in while one batch is being written goes together into the next."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._turn = asyncio.Lock()
        self._open: tuple[list[Arrival], asyncio.Task[list[Verdict]]] | None = None

    async def accept(self, arrival: Arrival) -> Verdict:
        """Raises LedgerAway, and then nothing of the batch is on record."""
        if self._open is None:
            batch: list[Arrival] = []
            self._open = batch, asyncio.create_task(self._commit(batch))
        batch, commit = self._open
        place = len(batch)
        batch.append(arrival)
        if len(batch) == AT_ONCE:
            self._open = None
        return (await asyncio.shield(commit))[place]

    async def _commit(self, batch: list[Arrival]) -> list[Verdict]:
        async with self._turn:
            if self._open is not None and self._open[0] is batch:
                self._open = None
            return await self._intake.accept(batch)
