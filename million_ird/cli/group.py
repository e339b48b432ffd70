"""The group of all commands: a wrong call is told like any other mistake, in one line."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

# Which package holds this class differs between versions of typer, what derives from it does not.
_UsageError: Any = typer.BadParameter.__mro__[1]


class Commands(TyperGroup):
    """Ends a wrong call with exit code 2 and one line that names the option, the value and where to read on."""

    def main(self, *args: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """Run the command line; ends the process unless `standalone_mode` is off."""
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **options)
        try:
            code = super().main(*args, standalone_mode=False, **options)
        except _UsageError as error:
            if type(error).show is not _UsageError.show:  # a group without a command: its help
                error.show()
            else:
                print(f"mird: error: {told(error)}", file=sys.stderr)
            sys.exit(2)
        except typer.Abort:
            print("mird: aborted", file=sys.stderr)
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)


def told(error: Any) -> str:
    """A usage error in one line, with the command that explains."""
    text = " ".join(error.format_message().split()).replace("Value error, ", "").rstrip(".?")
    command = error.ctx.command_path if error.ctx else "mird"
    return f"{text[:1].lower()}{text[1:]}; see `{command} --help`"
