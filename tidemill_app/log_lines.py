"""The lines of a log file as they are written."""

from __future__ import annotations

from pathlib import Path

from tidemill_app.stack.process import tail

MAX_READ = 1 << 20


class LogLines:
    """The last lines there are, then each whole line that comes; also where the log is moved away and begun anew."""

    def __init__(self, path: Path, last: int) -> None:
        self._path = path
        self._last = last
        self._at = -1

    def read(self) -> list[str]:
        """The lines that have come since the last call; none where there is no log yet. The first call gives the last
        ones, of at most 64 KiB."""
        size = self._path.stat().st_size if self._path.exists() else 0
        if self._at < 0:
            # The place is taken first: a line written meanwhile is shown twice rather than never.
            self._at = size
            return tail(self._path, self._last) if self._last else []
        if size < self._at:
            self._at = 0
        if size == self._at:
            return []
        with open(self._path, "rb") as stream:
            stream.seek(self._at)
            data = stream.read(MAX_READ)
        # A line longer than a whole read is given in pieces.
        whole = data.rfind(b"\n") + 1 or (len(data) if len(data) == MAX_READ else 0)
        self._at += whole
        return data[:whole].decode(errors="replace").splitlines()
