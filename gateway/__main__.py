"""`kennisgeving`, and `python -m gateway`."""

import sys

from cyclopts import CycloptsError

from gateway.cli import app
from gateway.cli.errors import Stop, WrongUse


def main() -> None:
    """Ends the process: 0 success, 1 a check failed, 2 wrong use."""
    try:
        code = app(exit_on_error=False, result_action="return_value")
    except CycloptsError:  # app has printed it
        code = WrongUse.code
    except Stop as stop:
        print(stop, file=sys.stderr)
        code = stop.code
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
