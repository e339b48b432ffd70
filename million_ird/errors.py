"""What can go wrong, by whose doing.

    Exception
      MirdError          the user's call, configuration or files: one line with the remedy, never a traceback
        ConfigError      a key, a value or a file of the configuration        (exit 2)
        InputError       a source that cannot be read as asked                (exit 2)
        OutputError      an output folder that cannot be written or used      (exit 1)
      BadImage           one image: becomes a row with a status, never stops a run

Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations


class MirdError(Exception):
    """A mistake the user can mend; the message is one line: what, where, and the remedy."""

    exit_code = 1


class ConfigError(MirdError):
    """A wrong key or value; the message names the field, the value and what is allowed."""

    exit_code = 2


class InputError(MirdError):
    """A source that is missing, empty or of an unknown kind."""

    exit_code = 2


class OutputError(MirdError):
    """An output folder that is locked, full, read-only or holds another run."""

    exit_code = 1


class BadImage(Exception):
    """One image that cannot be used.

    Args:
        status: one of `records.STATUSES` other than "ok".
        detail: what was found, in a few words, for the ledger's `error` column.
    """

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
