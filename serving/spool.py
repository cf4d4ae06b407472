"""A bounded queue of bytes on disk: appended whole or not at all, read in order, and sound after kill -9.

Segments `<first sequence>.spool` of frames: length, CRC-32 and sequence (little endian), then the bytes. `append`
hands them to the operating system, which keeps them whatever becomes of this process; `sync` brings them to the disk,
which keeps them through a loss of power, and only what is there is read. A frame that a crash cut short is cut off
when the folder is opened again. Other damage is cut off too, from the broken frame to the end of its segment, and is
logged and counted. So is a sync that fails: the next one may succeed although what the failed one was to write is on
no disk, so a loss of power before it is read can lose it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import threading
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tidemill.errors import UnavailableError

_log = logging.getLogger("tidemill.serving")

_FRAME = struct.Struct("<IIQ")
_PROBE_BYTES = 1 << 20


class Sent(msgspec.Struct):
    """What is known to have arrived: a hint kept beside the segments. `ends` are the ends of the partitions as they
    were then, by names that the sender gives them, so that only what came after needs to be looked through."""

    spool: str
    sequence: int = 0
    ends: dict[str, int] = {}


class Spool:
    """The queue in `folder`, which one process has at a time. Any thread appends, one syncs, one reads and discards."""

    def __init__(self, folder: Path, *, max_bytes: int = 1 << 30, segment_bytes: int = 4 << 20) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise UnavailableError("another process has this spool", where=str(folder)) from None
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self.faults = 0
        """How often the disk has failed: damage found, and syncs that failed."""
        self.sent = self._read_sent()
        self._segments = sorted(int(p.stem) for p in folder.glob("*.spool"))
        self._sizes = {first: self._path(first).stat().st_size for first in self._segments}
        self.bytes = sum(self._sizes.values())
        self.last = self._recover()
        self._file = -1
        self._full: list[int] = []
        self._new = bool(self._segments)
        self._changing = threading.Lock()
        self._cursor = (-1, 0, 0)
        self.durable = 0
        """Sequence of the last item that is on the disk."""
        self.sync()

    @staticmethod
    def claim(parent: Path, **options: int) -> Spool:
        """The first spool under `parent` (`0`, `1`, ...) that no other process has."""
        for slot in range(64):
            try:
                return Spool(parent / str(slot), **options)
            except UnavailableError:
                continue
        raise UnavailableError("too many processes have spools here", where=str(parent))

    def __len__(self) -> int:
        return self.last - self.sent.sequence

    def append(self, items: list[bytes]) -> None:
        """Add all of `items` or none; they survive this process. Raises `UnavailableError` where there is no room."""
        if not items:
            return
        try:
            with self._changing:
                frames, sequence = [], self.last
                for item in items:
                    sequence += 1
                    frames.append(_FRAME.pack(len(item), _crc(sequence, item), sequence) + item)
                data = b"".join(frames)
                if self.bytes + len(data) > self._max_bytes:
                    wanted = f"at most {self._max_bytes} bytes"
                    raise UnavailableError("the spool is full", where=str(self.folder), wanted=wanted)
                self._write(self._active(sequence - len(items) + 1), data)
                self.last = sequence
        except OSError as error:
            raise UnavailableError("cannot write", where=str(self.folder), got=error.strerror or str(error)) from None

    def sync(self) -> None:
        """Bring everything appended so far to the disk; appending goes on meanwhile. Raises `UnavailableError`."""
        with self._changing:
            upto, files, new = self.last, self._full, self._new
            self._full, self._new = [], False
            if self._file >= 0:
                files = [*files, os.dup(self._file)]
        try:
            for file in files:
                os.fsync(file)
            if new:
                _sync_folder(self.folder)
        except OSError as error:
            with self._changing:
                self._full, self._new = [*files, *self._full], self._new or new
            self._fault("%s: a sync failed: %s", self.folder, error)
            raise UnavailableError("cannot write", where=str(self.folder), got=error.strerror or str(error)) from None
        for file in files:
            os.close(file)
        self.durable = upto

    def read(self, after: int, limit: int, max_bytes: int = 1 << 62) -> list[tuple[int, bytes]]:
        """Up to `limit` items on the disk with a sequence above `after`, in order; no more once they have `max_bytes`
        together."""
        out: list[tuple[int, bytes]] = []
        size = 0
        last, segments = self.durable, self._segments
        for i, first in enumerate(segments):
            if i + 1 < len(segments) and segments[i + 1] <= after + 1:
                continue
            # Where the last read of this segment ended; whoever reads on in order parses each frame once.
            start = self._cursor[2] if self._cursor[:2] == (after, first) else 0
            for sequence, item, end in _frames(self._path(first), start):
                if sequence > last:
                    return out
                if sequence > after:
                    out.append((sequence, item))
                    self._cursor = (sequence, first, end)
                    size += len(item)
                    if len(out) >= limit or size >= max_bytes:
                        return out
        return out

    def discard(self, upto: int, ends: dict[str, int]) -> None:
        """Everything up to sequence `upto` has arrived: whole segments of it are removed."""
        with self._changing:
            self.sent = Sent(self.sent.spool, upto, ends)
            while len(self._segments) > 1 and self._segments[1] <= upto + 1:
                self._remove(self._segments[0])
            full = self._segments and self._sizes[self._segments[0]] >= self._segment_bytes
            if full and len(self._segments) == 1 and upto >= self.last:
                self._remove(self._segments[0])

    def save_sent(self) -> None:
        """Keep the hint. Raises `OSError`."""
        temporary = self.folder / "sent.new"
        with open(temporary, "wb") as file:
            file.write(msgspec.json.encode(self.sent))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.folder / "sent.json")

    def room(self) -> str:
        """Why nothing more could be written; empty where it could: a real allocation on this disk is tried."""
        if self.bytes >= self._max_bytes:
            return "the spool of predictions is full"
        probe = self.folder / "room.probe"
        try:
            file = os.open(probe, os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                os.posix_fallocate(file, 0, _PROBE_BYTES)
            finally:
                os.ftruncate(file, 0)
                os.close(file)
        except OSError as error:
            return f"disk: {error.strerror}"
        return ""

    def close(self) -> None:
        """Close; an empty queue leaves no segment behind."""
        if len(self) == 0:
            for first in list(self._segments):
                self._remove(first)
        try:
            self.save_sent()
        except OSError:
            pass  # a hint only: the next start reads further back
        for file in (*self._full, *([self._file] if self._file >= 0 else [])):
            os.close(file)
        os.close(self._lock)

    def _path(self, first: int) -> Path:
        return self.folder / f"{first:020d}.spool"

    def _read_sent(self) -> Sent:
        try:
            return msgspec.json.decode((self.folder / "sent.json").read_bytes(), type=Sent)
        except (FileNotFoundError, msgspec.DecodeError):
            sent = Sent(uuid.uuid4().hex)
            # Before the first item: what is in Kafka under this name must be known as ours after a crash.
            self.sent = sent
            self.save_sent()
            return sent

    def _recover(self) -> int:
        """The last sequence, with what is not sound cut off."""
        last = self.sent.sequence
        for first in list(self._segments):
            end = 0
            for sequence, _, after in _frames(self._path(first)):
                last, end = max(last, sequence), after
            if end != self._sizes[first]:
                lost = self._sizes[first] - end
                if first != self._segments[-1] or not _torn(self._path(first), end):
                    self._fault("%s is damaged: its last %d bytes are lost", self._path(first), lost)
                os.truncate(self._path(first), end)
                self.bytes += end - self._sizes[first]
                self._sizes[first] = end
        return last

    def _fault(self, message: str, *what: object) -> None:
        self.faults += 1
        _log.error(message, *what)

    def _active(self, sequence: int) -> int:
        """The segment to append to, open."""
        if self._file < 0 or not self._segments or self._sizes[self._segments[-1]] >= self._segment_bytes:
            if self._file >= 0:
                self._full.append(self._file)
                self._file = -1
            path = self._path(sequence)
            self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
            if sequence not in self._sizes:
                self._sizes[sequence] = 0
                self._segments = [*self._segments, sequence]
            self._new = True
        return self._segments[-1]

    def _write(self, first: int, data: bytes) -> None:
        size = self._sizes[first]
        view = memoryview(data)
        try:
            while len(view):
                view = view[os.write(self._file, view) :]
        except OSError:
            os.ftruncate(self._file, size)
            raise
        self._sizes[first] = size + len(data)
        self.bytes += len(data)

    def _remove(self, first: int) -> None:
        if self._segments and first == self._segments[-1] and self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._segments = [f for f in self._segments if f != first]
        self.bytes -= self._sizes.pop(first, 0)
        self._path(first).unlink(missing_ok=True)


def _crc(sequence: int, item: bytes) -> int:
    return zlib.crc32(item, sequence & 0xFFFFFFFF)


def _frames(path: Path, start: int = 0) -> Iterator[tuple[int, bytes, int]]:
    """The sound frames of a segment from byte `start` on: sequence, bytes, and where each ends."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read()
    except FileNotFoundError:
        return
    at = 0
    while at + _FRAME.size <= len(data):
        length, crc, sequence = _FRAME.unpack_from(data, at)
        item = data[at + _FRAME.size : at + _FRAME.size + length]
        if len(item) < length or _crc(sequence, item) != crc:
            return
        at += _FRAME.size + length
        yield sequence, item, start + at


def _torn(path: Path, at: int) -> bool:
    """Whether the segment ends within the frame at byte `at`, as a crash leaves it."""
    rest = path.read_bytes()[at:]
    return len(rest) < _FRAME.size or len(rest) < _FRAME.size + _FRAME.unpack_from(rest)[0]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
