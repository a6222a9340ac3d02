"""I15: as many events as there were changes to tell of, dossier by dossier; what has no dossier, gemeente by gemeente.

What an event says is sealed; which delivery it is about is held against the changes in the fault campaign, where the
sender's copies are at hand (`tests/faults/tidings.py`).
"""

from sqlalchemy import Connection

from gateway.core.lifecycle import Happening
from gateway.invariants.finding import Circumstances, Finding, look, quoted


def _uneven(changes: str, event: str) -> str:
    """Dossiers in which the number of `changes` (a FROM clause that ends in a condition) is not that of `event`."""
    return f"""
SELECT dossier.id FROM dossier
WHERE (SELECT count(*) FROM {changes} AND dossier_id = dossier.id)
<> (SELECT count(*) FROM outbox WHERE outbox.dossier_id = dossier.id AND name = '{event}')"""  # noqa: S608


def _uneven_by_gemeente(changes: str, event: str) -> str:
    """Gemeenten of which the rows of `changes` (a table) are not as many as the events."""
    told = f"SELECT gemeente, count(*) AS n FROM outbox WHERE name = '{event}' GROUP BY gemeente"  # noqa: S608
    made = f"SELECT gemeente, count(*) AS n FROM {changes} GROUP BY gemeente"  # noqa: S608
    return f"""
SELECT coalesce(made.gemeente, told.gemeente) FROM ({made}) AS made
FULL JOIN ({told}) AS told ON told.gemeente = made.gemeente WHERE coalesce(made.n, 0) <> coalesce(told.n, 0)"""  # noqa: S608


MARKED = ("antwoord-verlopen", "bezorging-vertraagd", "dossier-volledig", "pauze-geeindigd", "pauze-loopt-af",
          "voortgang-verschuldigd")  # fmt: skip
"""Events that the clock causes; the mark that goes with each, in the same transaction, is there once per subject."""
_STEPS = "transition JOIN delivery ON delivery.id = transition.delivery_id WHERE"
_ARRIVALS = quoted((Happening.HANDED_OVER, Happening.HANDED_OVER_FINAL, Happening.ATTESTED, Happening.ATTESTED_FINAL))
_HANDED_OVER = f"{_STEPS} happening IN ({_ARRIVALS}) AND \"before\" <> 'ingetrokken'"
_WITHDRAWN = f"{_STEPS} \"after\" = 'ingetrokken' AND \"before\" <> 'ingetrokken'"
_FAILED = f"{_STEPS} \"after\" = 'mislukt' AND \"before\" <> 'mislukt'"


def for_messages(connection: Connection, _: Circumstances) -> Finding:
    accepted = _uneven("message WHERE hold_until IS NULL", "bericht-geaccepteerd")
    return look(connection, "I15", "elk aangenomen bericht is één keer gemeld", "message", accepted)


def for_hand_overs(connection: Connection, _: Circumstances) -> Finding:
    handed_over = _uneven(_HANDED_OVER, "bezorging-afgeleverd")
    return look(connection, "I15", "elke afgifte is één keer gemeld", _HANDED_OVER, handed_over)


def for_ends(connection: Connection, _: Circumstances) -> Finding:
    both = f"{_uneven(_WITHDRAWN, 'bezorging-ingetrokken')} UNION ALL {_uneven(_FAILED, 'bezorging-mislukt')}"
    count = f"{_STEPS} \"after\" IN ('ingetrokken', 'mislukt')"
    return look(connection, "I15", "elk einde zonder afgifte is één keer gemeld", count, both)


def for_receipts(connection: Connection, _: Circumstances) -> Finding:
    """The first proof of receipt of a delivery, where no decision came before it. What expects no answer may have been
    received at its hand-over, which is told by that."""
    first = """
delivery JOIN transition ON transition.delivery_id = delivery.id
WHERE happening IN ('ontvangst', 'ontvangst_zonder_antwoord')
AND NOT EXISTS (SELECT 1 FROM transition AS former WHERE former.delivery_id = delivery.id
    AND former.nr < transition.nr AND former.happening IN
    ('ontvangst', 'ontvangst_zonder_antwoord', 'bevestigend_antwoord', 'weigerend_antwoord'))
AND dossier_id = dossier.id"""
    query = f"""
SELECT dossier.id FROM dossier WHERE (SELECT count(*) FROM outbox
    WHERE outbox.dossier_id = dossier.id AND name = 'ontvangst-bevestigd')
NOT BETWEEN (SELECT count(*) FROM {first} AND soort IN ('kennisgeving', 'herinnering'))
AND (SELECT count(*) FROM {first})"""  # noqa: S608
    what = "elke eerste ontvangst is één keer gemeld"
    return look(connection, "I15", what, "transition WHERE happening LIKE 'ontvangst%'", query)


def for_the_clock(connection: Connection, _: Circumstances) -> Finding:
    uneven = " UNION ALL ".join(_uneven(f"milestone WHERE milestone.name = '{name}'", name) for name in MARKED)
    count = f"milestone WHERE name IN ({quoted(MARKED)})"
    return look(connection, "I15", "wat de klok veroorzaakt, is één keer gemeld", count, uneven)


def for_refusals(connection: Connection, _: Circumstances) -> Finding:
    uneven = _uneven_by_gemeente("refusal", "bericht-geweigerd")
    return look(connection, "I15", "elke weigering is één keer gemeld", "refusal", uneven)


def for_pause_requests(connection: Connection, _: Circumstances) -> Finding:
    uneven = _uneven_by_gemeente("pause_request", "pauzeverzoek-ontvangen")
    return look(connection, "I15", "elk pauzeverzoek is één keer gemeld", "pause_request", uneven)
