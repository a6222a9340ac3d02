"""`kennisgeving`, and `python -m gateway`."""

import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from gateway.cli import app
from gateway.cli.errors import Stop, WrongUse


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command, by default that of this process; returns its exit code."""
    try:
        code = app(arguments, exit_on_error=False, result_action="return_value")
    except CycloptsError:  # app has printed it
        return WrongUse.code
    except Stop as stop:
        print(stop, file=sys.stderr)
        return stop.code
    return code if isinstance(code, int) else 0


def main() -> None:
    sys.exit(run())


if __name__ == "__main__":
    main()
