"""What must hold, checked at every change and in full per virtual day; numbers as in the guarantee.

| | |
|---|---|
| I2 | an accepted kennisgeving has one delivery per known creditor and agent; the others are listed |
| I3 | a delivery is terminal, due, waiting for another one, handed over with its dossier under review, or a task |
| I6 | what is offered again is the same, byte for byte |
| I7 | first sightings at a creditor are in the order of versions, flagged ones aside |
| I9 | no attempt starts after the withdrawal is committed |
| I10 | changes of state follow the table and each other; time never leaves a terminal state |
| I13 | the same answer again changes nothing |
| I15 | what the clock causes is told once |
| I16 | what is not delivered after 4 hours has been reported |
| I17 | attempts are spaced by the schedule, and no more than it allows |
"""

from gateway.simulation.invariants.daily import Daily
from gateway.simulation.invariants.sightings import Sightings
from gateway.simulation.invariants.violation import Verdict, Violation
from gateway.simulation.invariants.watch import Watch

__all__ = ["Daily", "Sightings", "Verdict", "Violation", "Watch"]
