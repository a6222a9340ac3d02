"""`kennisgeving demo`: the whole job on one machine, with sample dossiers and four kinds of creditors.

stage.py     directory, keys, creditors, settings
play.py      the sender sends and follows its events until all is told and answered
verdict.py   what is missing, by comparing dossiers, ledger, creditors' logs and events
report.py    what is shown
"""

from gateway.cli.demo.command import demo

__all__ = ["demo"]
