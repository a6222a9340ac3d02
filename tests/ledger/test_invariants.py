"""A ledger that the gateway made keeps every invariant; each way to break one is seen, and by its own number."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from gateway.clock import Clock
from gateway.core.lane import SECOND
from gateway.core.retry import Policy
from gateway.invariants import CHECKS, Circumstances, verify
from gateway.ledger.engine import Ledger
from tests.flow.desk import follow_up, notice, progress
from tests.flow.running import QUICK, Town, neighbour, running

POLICY = Policy(first=0.05, highest=0.2)
_ATTEMPTS = """
INSERT INTO attempt (delivery_id, nr, channel, owner, digest, started_at, finished_at, outcome, code, stale)
WITH RECURSIVE many(nr) AS (SELECT 1000 UNION ALL SELECT nr + 1 FROM many WHERE nr < 1000 + {number})
SELECT delivery_id, many.nr, channel, owner, digest, started_at + many.nr, started_at + many.nr, '{outcome}', 'x', stale
FROM (SELECT * FROM attempt WHERE nr = 1 LIMIT 1) AS first, many"""
_DEAD = """
INSERT INTO lane (creditor, channel, fence, held_until, deaths, dead_until, fresh_since)
SELECT creditor, attempt.channel, 1, 0, 1, started_at + 10000, 0
FROM attempt JOIN delivery ON delivery.id = delivery_id WHERE creditor = 'doof' AND nr = 1
ON CONFLICT (creditor, channel) DO UPDATE SET deaths = 1, dead_until = excluded.dead_until"""
BREACHES = {
    "a second delivery for one addressee": (
        "I2",
        "UPDATE delivery SET message_id = (SELECT min(id) FROM message), agent_for = NULL, creditor = 'energie'",
    ),
    "a failure that is nobody's task": (
        "wat mislukte, is een taak of was het",
        "UPDATE delivery SET state = 'mislukt' WHERE state = 'bevestigd'",
    ),
    "a notice without deliveries": ("I2", "UPDATE delivery SET message_id = 'weg'"),
    "a delivery that nobody looks after": (
        "I3",
        "UPDATE delivery SET state = 'wacht_op_poging', next_action_at = NULL, waits_for = NULL",
    ),
    "two contents on one channel": (
        "I6",
        "UPDATE attempt SET digest = channel_digest FROM (SELECT {blob} AS channel_digest) AS other WHERE nr = 1",
    ),
    "an attempt after the withdrawal": ("I9", "UPDATE attempt SET started_at = started_at + 90000000000"),
    "an attempt on what was told and withdrawn": (
        "I9",
        "UPDATE dossier SET withdrawn_at = (SELECT min(started_at) FROM attempt) - 61000000",
    ),
    "an attempt on what was withdrawn for its creditor": (
        "I9",
        "INSERT INTO milestone (dossier_id, name, subject, at) "
        "SELECT id, 'ingetrokken', '2 energie', 1 FROM dossier WHERE kenmerk = 'SHV-1'",
    ),
    "a step that the table does not know": ("I10", "UPDATE transition SET \"before\" = 'geweigerd'"),
    "a step from nowhere": (
        "I10",
        "UPDATE transition SET \"before\" = 'ontvangen' WHERE \"after\" = 'bevestigd'",
    ),
    "a state without its step": ("I10", "UPDATE delivery SET state = 'geweigerd' WHERE state = 'bevestigd'"),
    "a terminal state that time left": (
        "I10",
        "UPDATE transition SET \"before\" = 'mislukt' WHERE \"after\" = 'afgeleverd'",
    ),
    "the word of nobody": (
        "I10",
        "UPDATE transition SET happening = 'vastgesteld', \"before\" = 'onzeker' WHERE \"after\" = 'afgeleverd'",
    ),
    "a stale result that moved something": ("I11", "UPDATE attempt SET stale = {true}"),
    "an answer of a stranger": ("I12", "UPDATE evidence SET creditor = 'vreemde'"),
    "evidence without what came in": ("I12", "UPDATE evidence SET raw = {empty}"),
    "a bounce of what was never sent": (
        "wat per mail terugkwam, is van iets dat verzonden was en zoals het kwam",
        "UPDATE evidence SET kind = 'bounce', received_at = 1",
    ),
    "a mail that is not the one that came": (
        "wat per mail terugkwam, is van iets dat verzonden was en zoals het kwam",
        "UPDATE evidence SET source = 'sha256:00'",
    ),
    "an answer told twice": (
        "I13",
        "UPDATE outbox SET name = 'antwoord-ontvangen' WHERE name = 'bezorging-afgeleverd'",
    ),
    "a decision of nobody": ("I14", "DELETE FROM evidence"),
    "a message that nobody was told of": ("I15", "DELETE FROM outbox WHERE name = 'bericht-geaccepteerd'"),
    "a hand-over that nobody was told of": ("I15", "DELETE FROM outbox WHERE name = 'bezorging-afgeleverd'"),
    "a withdrawal that nobody was told of": ("I15", "DELETE FROM outbox WHERE name = 'bezorging-ingetrokken'"),
    "a delay that nobody was told of": (
        "I16",
        "UPDATE delivery SET created_at = 1, next_action_at = 1, state = 'in_wachtrij'",
    ),
    "a receipt that nobody was told of": (
        "elke eerste ontvangst is één keer gemeld",
        "UPDATE transition SET happening = 'ontvangst', \"after\" = 'ontvangen' WHERE happening = 'overgedragen'",
    ),
    "a receipt told without one": (
        "elke eerste ontvangst is één keer gemeld",
        "UPDATE outbox SET name = 'ontvangst-bevestigd' WHERE name = 'bezorging-afgeleverd'",
    ),
    "a dossier complete and nobody was told of it": (
        "wat de klok veroorzaakt, is één keer gemeld",
        "INSERT INTO milestone (dossier_id, name, subject, at) "
        "SELECT id, 'dossier-volledig', 'bezorgd 9', 1 FROM dossier",
    ),
    "a term that was over twice": (
        "wat de klok veroorzaakt, is één keer gemeld",
        "UPDATE outbox SET name = 'antwoord-verlopen' WHERE name = 'bezorging-afgeleverd'",
    ),
    "a refusal that nobody was told of": (
        "elke weigering is één keer gemeld",
        "DELETE FROM outbox WHERE dossier_id IS NULL",
    ),
    "a refusal of nothing": (
        "elke weigering is één keer gemeld",
        "UPDATE outbox SET name = 'bericht-geweigerd' WHERE name = 'bericht-geaccepteerd'",
    ),
    "a pause request of nobody": (
        "elk pauzeverzoek is één keer gemeld",
        "UPDATE outbox SET name = 'pauzeverzoek-ontvangen' WHERE name = 'bericht-geaccepteerd'",
    ),
    "a delay that was over before anybody was told of it": (
        "wat na 4 uur niet bezorgd is of was, is gemeld",
        "UPDATE delivery SET created_at = created_at - 20000000000 WHERE state = 'bevestigd'",
    ),
    "a hot loop": ("I17", "UPDATE attempt SET started_at = 1, finished_at = 2"),
    "more failures than the schedule has room for": (
        "er zijn niet meer pogingen dan het schema toelaat",
        _ATTEMPTS.format(number=20, outcome="tijdelijk"),
    ),
    "a hot loop of what spends nothing": (
        "er zijn niet meer pogingen dan het schema toelaat",
        _ATTEMPTS.format(number=80, outcome="uitgesteld"),
    ),
    "a fault of ours tried again at once": (
        "pogingen houden de tussenpozen van het schema aan",
        _ATTEMPTS.format(number=2, outcome="eigen_fout"),
    ),
    "a claim of a gateway that is gone": ("I23", "UPDATE delivery SET state = 'bezig', next_action_at = 1"),
    "a change that nobody looked at": ("I23", "INSERT INTO nudge (dossier_id, at) SELECT id, 1 FROM dossier"),
    "a delivery beyond its horizon": (
        "I24",
        "UPDATE delivery SET give_up_at = 1, state = 'wacht_op_poging', next_action_at = 1",
    ),
}


@pytest.fixture
async def lived(ledger_url: str, tmp_path: Path) -> AsyncIterator[Ledger]:
    """Two ways to answer, a retry, a follow-up, a refusal, a withdrawal that overtakes what was never handed over."""
    people = [neighbour("energie", "webhook:in_reply"), neighbour("zorg", "sftp:answers"), neighbour("doof")]
    async with running(tmp_path, ledger_url, people) as town:
        async with town.webhooks["doof"].answers_with(503):
            await town.send(notice("SHV-1", 1, "energie", "zorg"), notice("SHV-2", 1, "doof"), progress("SHV-1", 2))
            await town.try_out("doof", 2)
            await town.send(
                follow_up("intrekking", "SHV-2", 2, reden="dubbel"), follow_up("voortgang", "SHV-2", 3, x=1)
            )
        await town.reach("ingetrokken", "doof")
        await _settled(town)
        yield town.ledger


async def _settled(town: Town) -> None:
    async def look() -> bool:
        notices = [row for row in await town.deliveries("energie", "zorg") if row.soort == "kennisgeving"]
        follow_ups = [row for row in await town.deliveries("energie", "zorg") if row.soort == "voortgang"]
        return all(row.state == "bevestigd" for row in notices) and all(row.handed_over_at for row in follow_ups)

    await town.until(look)


async def test_a_ledger_that_the_gateway_made_keeps_every_invariant(lived: Ledger) -> None:
    assert QUICK["eerste_herhaling"] == "0.05 s"
    found = await lived.run(verify, Circumstances(Clock().micros(), POLICY))
    assert [finding for finding in found if finding.broken] == []
    assert len(found) == len(CHECKS)
    looked_at = {finding.invariant for finding in found if finding.checked}
    assert looked_at >= {"I2", "I3", "I6", "I9", "I10", "I11", "I12", "I13", "I14", "I15", "I17"}


async def test_every_breach_is_seen_by_its_invariant(lived: Ledger) -> None:
    missed = {}
    for name, (invariant, statement) in BREACHES.items():
        seen = await _seen_after(lived, statement)
        if invariant not in seen:
            missed[name] = seen
    assert missed == {}


async def test_an_attempt_on_a_dead_lane_is_seen(lived: Ledger) -> None:
    what = "op een dode baan begint niets dan een peiling"
    assert what in await _seen_after(lived, _DEAD, Circumstances(Clock().micros(), Policy()))
    alive = _DEAD.replace("deaths = 1", "deaths = 0").replace("0, 1, started_at", "0, 0, started_at")
    assert what not in await _seen_after(lived, alive, Circumstances(Clock().micros(), Policy()))


async def test_what_was_paced_by_other_settings_is_not_held_against_those_of_today(lived: Ledger) -> None:
    slower, now = Policy(first=3600.0, highest=7200.0), Clock().micros()
    after = now + 100 * 365 * 24 * 3600 * SECOND  # ids made here rise above those of tests with a calendar of their own
    assert "I17" in await _seen_after(lived, "SELECT 1", Circumstances(now, slower))
    assert "I17" not in await _seen_after(lived, "SELECT 1", Circumstances(now, slower, settings_from=after))


WORDS = {
    True: {"blob": "x'00'", "empty": "x''", "true": "1"},
    False: {"blob": "'\\x00'::bytea", "empty": "''::bytea", "true": "true"},
}
"""How SQLite says it, and how PostgreSQL does."""


class _Undo(Exception):
    """So that the next breach finds the ledger whole."""


async def _seen_after(ledger: Ledger, statement: str, circumstances: Circumstances | None = None) -> set[str]:
    seen: set[str] = set()

    def breach(connection: Connection) -> None:
        is_sqlite = connection.dialect.name == "sqlite"
        words = WORDS[is_sqlite]
        connection.execute(text(statement.format_map(words) if "{" in statement else statement))
        seen.update(broken_without_isolation(connection, circumstances or Circumstances(Clock().micros(), POLICY)))
        raise _Undo

    with pytest.raises(_Undo):
        await ledger.run(breach)
    return seen


def broken_without_isolation(connection: Connection, circumstances: Circumstances) -> set[str]:
    """Numbers and texts. As `verify`, in a transaction that has begun to write."""
    found = [check(connection, circumstances) for check in CHECKS]
    return {name for finding in found if finding.broken for name in (finding.invariant, finding.what)}
