"""I15: as many events as there were changes to tell of, dossier by dossier."""

from sqlalchemy import Connection

from gateway.core.lifecycle import Happening
from gateway.invariants.finding import Circumstances, Finding, look, quoted


def _uneven(changes: str, event: str) -> str:
    """Dossiers in which the number of `changes` (a FROM clause that ends in a condition) is not that of `event`."""
    return f"""
SELECT dossier.id FROM dossier
WHERE (SELECT count(*) FROM {changes} AND dossier_id = dossier.id)
<> (SELECT count(*) FROM outbox WHERE outbox.dossier_id = dossier.id AND name = '{event}')"""  # noqa: S608


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
