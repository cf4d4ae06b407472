"""The error tree.

Every error says *who* found it, *where*, what was *wanted*, what came instead (*got*), and what to do next (*fix*)::

    TidemillError
    ├── UserError              you asked for something that cannot be (exit code 2, HTTP 4xx)
    │   ├── DeclarationError     a stream declaration is wrong
    │   ├── IncompatibleError    a changed declaration, job or state does not fit what is there
    │   ├── SubmissionError      a job file cannot be run as it stands
    │   ├── ConfigError          a setting is missing or wrong
    │   ├── NotFoundError        no such stream, job, model, version or endpoint
    │   └── RequestError         a scoring request is wrong; names the field
    ├── BadEvent               the log holds something that is not a usable event (goes to `dead.<job>`)
    │   ├── MalformedError       not JSON, not UTF-8, not an Arrow stream
    │   ├── WrongTypeError       a field is missing or has another type than declared
    │   ├── NotFiniteError       NaN or an infinite number
    │   ├── UnknownTagError      an event type this version does not know
    │   ├── TombstoneError       a record without a value, in a topic that is not compacted
    │   ├── TooLargeError        a payload above the limit
    │   ├── LateError            before the largest time earlier in its partition, minus the allowed lateness
    │   ├── EarlyError           further ahead of its partition's clock than `max_ahead`
    │   └── OrphanError          a label that names no prediction within its time
    ├── IntegrityError         an artefact is not what its manifest says
    │   ├── DigestError          bytes do not match their digest
    │   ├── SignatureError       a signature is missing or wrong
    │   └── GoneError            offsets are no longer in the log and no archive holds them; names the range
    ├── StepError              a job's own code, or its learner, raised; names the event
    └── UnavailableError       a part that is needed does not answer now; trying again may help
        ├── OverloadedError      a bounded queue is full; says when to come back
        └── FencedError          another producer with the same identity has taken over
"""

from __future__ import annotations


class TidemillError(Exception):
    """The root of all errors Tidemill raises on purpose.

    Parameters are keyword only and all optional except the message; `str()` joins those that were given into one
    line, in the order where, message, wanted, got, fix.
    """

    def __init__(
        self, message: str, *, where: str = "", wanted: str = "", got: str = "", fix: str = "", field: str = ""
    ) -> None:
        self.message = message
        self.where = where
        self.wanted = wanted
        self.got = got
        self.fix = fix
        self.field = field
        super().__init__(self._line())

    def _line(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        if self.wanted:
            text += f"; wanted {self.wanted}"
        if self.got:
            text += f"; got {self.got}"
        if self.fix:
            text += f". {self.fix}"
        return text


class UserError(TidemillError):
    """You asked for something that cannot be."""


class DeclarationError(UserError):
    """A stream declaration is wrong."""


class IncompatibleError(UserError):
    """A changed declaration, job or state does not fit what is there."""


class SubmissionError(UserError):
    """A job file cannot be run as it stands."""


class ConfigError(UserError):
    """A setting is missing or wrong."""


class NotFoundError(UserError):
    """No such stream, job, model, version or endpoint."""


class RequestError(UserError):
    """A scoring request is wrong; `field` names what."""


class BadEvent(TidemillError):
    """The log holds something that is not a usable event."""


class MalformedError(BadEvent):
    """Not JSON, not UTF-8, not an Arrow stream."""


class WrongTypeError(BadEvent):
    """A field is missing or has another type than declared."""


class NotFiniteError(BadEvent):
    """NaN or an infinite number where a finite one is declared."""


class UnknownTagError(BadEvent):
    """An event type this version does not know."""


class TombstoneError(BadEvent):
    """A record without a value, in a topic that is not compacted."""


class TooLargeError(BadEvent):
    """A payload above the limit."""


class LateError(BadEvent):
    """Before the largest time earlier in its partition, minus the allowed lateness."""


class EarlyError(BadEvent):
    """Further ahead of its partition's clock than the job's `max_ahead`."""


class OrphanError(BadEvent):
    """A label that names no prediction within its time."""


class IntegrityError(TidemillError):
    """An artefact is not what its manifest says."""


class DigestError(IntegrityError):
    """Bytes do not match their digest."""


class SignatureError(IntegrityError):
    """A signature is missing or wrong."""


class GoneError(IntegrityError):
    """Offsets are no longer in the log and no archive holds them; the message names the range."""


class StepError(TidemillError):
    """A job's own code, or its learner, raised; the message names the error, and the event or those it is among.

    `exact` says that it is this one event; `stepped` is how many events the job had stepped with the failed ones.
    """

    def __init__(self, message: str, *, where: str, got: str, fix: str, exact: bool, stepped: int) -> None:
        self.exact, self.stepped = exact, stepped
        super().__init__(message, where=where, got=got, fix=fix)


class UnavailableError(TidemillError):
    """A part that is needed does not answer now; trying again may help."""


class OverloadedError(UnavailableError):
    """A bounded queue is full; `retry_after` seconds is when to come back."""

    def __init__(self, message: str, *, retry_after: float = 1.0, where: str = "", fix: str = "") -> None:
        self.retry_after = retry_after
        super().__init__(message, where=where, fix=fix)


class FencedError(UnavailableError):
    """Another producer with the same identity has taken over."""
