"""A digest of all that left the gateway, in order: two runs that differ anywhere differ here."""

import hashlib
from collections import Counter

from gateway.outbox import Publication
from gateway.simulation.creditor import Sighting


class Trail:
    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.sightings: Counter[tuple[str, str, bool]] = Counter()
        """(creditor, soort, it came for the first time)"""

    def see(self, sighting: Sighting) -> None:
        self.sightings[sighting.creditor, sighting.seen.soort, sighting.first] += 1
        self._digest.update(f"{sighting.at} {sighting.creditor} ".encode() + sighting.digest)

    def hear(self, publication: Publication) -> None:
        self._digest.update(publication.routing_key.encode() + publication.body)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()
