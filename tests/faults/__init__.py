"""The fault campaign: real processes are killed and cut off, and afterwards every invariant must hold.

python -m tests.faults                  every fault, with a report in docs/guarantee-report.md
python -m tests.faults F1 --kills 100   one of them
python -m tests.faults teeth            seeded bugs, each of which must turn the campaign red
"""
