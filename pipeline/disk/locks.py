"""Locks that die with their holder: flock on a file that says who holds it and since when.

Several machines may share the disk, and of a network file system nobody knows whether its flock is seen by all of them
(NFS mounted with `nolock` or `local_lock`), or is there at all. So a holder also touches its file every few seconds,
and what another machine has written counts for as long as it is touched. Times are the disk's, since machines' clocks
differ. Two machines that begin within the same moment are told apart where there is no flock, and not where each has
one of its own.
"""

import errno
import fcntl
import json
import os
import random
import socket
import tempfile
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import IO

from pipeline.disk.durable import JsonMapping, JsonObject
from rewards.errors import RetortError

BEAT = 5.0
"""Seconds between two touches of a file that is held."""

SETTLE = 0.5
"""Seconds after which somebody else who began in the same moment has written, where there is no flock."""

LEASE = 30.0
"""Seconds after the last touch in which another machine's lock still counts."""

WITHOUT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems without flock say."""


class Held(RetortError):
    """Another live process holds the lock. `holder` is what it wrote: pid, host, since (text), token."""

    def __init__(self, path: Path, holder: JsonMapping) -> None:
        self.holder = holder
        super().__init__(f"{path} is held by {describe(holder)}")


class Lock:
    """An exclusive lock on `path`, taken when made. The kernel gives it back when its process dies, however it dies;
    where it was held on another machine that is gone, taking it may need `LEASE` seconds.

    Raises Held. With `keep` the file stays behind when the lock is released; otherwise it goes too.
    """

    def __init__(self, path: Path, *, token: str = "", keep: bool = False) -> None:
        self.path, self._keep, self._own = path, keep, uuid.uuid4().hex
        while not self._took(token):
            time.sleep(random.uniform(0, SETTLE))  # several wrote at once; who is first now is seen by the others
        self._released = threading.Event()
        threading.Thread(target=self._beat, name="lock", daemon=True).start()

    def _took(self, token: str) -> bool:
        """Whether the file is this lock's; False where several have written it at once. Raises Held."""
        self._stream, alone = _take(self.path)
        self._stream.seek(0)
        # Only now, with the lock held: what the last holder wrote is told to who fails to get it.
        self._stream.truncate()
        json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S"),
                   "token": token, "lock": self._own}, self._stream)
        self._stream.flush()
        os.fsync(self._stream.fileno())  # for other machines
        if alone:
            return True
        time.sleep(SETTLE)
        if self._is_own():
            return True
        self._stream.close()
        if self.path.exists() and (found := _read(self.path)):
            raise Held(self.path, found)
        return False

    def _beat(self) -> None:
        while not self._released.wait(BEAT):
            try:
                if self._is_own():  # another machine takes it where this one was away for longer than the lease
                    os.utime(self.path)
            except OSError:  # a disk that is away for a moment, or the folder was moved
                continue

    def _is_own(self) -> bool:
        try:
            return _read(self.path).get("lock") == self._own
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._stream.closed:
            return
        self._released.set()
        if not self._is_own():
            self._stream.close()
            return
        if self._keep:
            self._stream.truncate(0)  # another machine is not to wait for it
            self._stream.flush()
        else:
            # Before the lock is given back: who comes next finds no file, and makes one of its own.
            self.path.unlink(missing_ok=True)
        self._stream.close()

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.release()


def holder(path: Path) -> JsonObject | None:
    """Who holds the lock now, or None. A file left behind by a dead process is no lock."""
    try:
        stream = path.open()
    except FileNotFoundError:
        return None
    with stream:
        # A shared lock can be had exactly when nobody here holds the exclusive one.
        free = _flock(stream, fcntl.LOCK_SH)
        found = _written(stream)
        try:
            if free is False or (found and _counts(found, free) and _age(path) < LEASE):
                return found
        except FileNotFoundError:  # it was given back meanwhile
            return None
    return None


class Watched:
    """A lock that was held under a token, as a process sees it that looks again and again and lives by it."""

    def __init__(self, path: Path, token: str) -> None:
        self._path, self._token = path, token
        self._touched: float | None = None
        self._looked = time.monotonic()
        self._still = 0.0  # seconds for which it was seen to be touched no more

    def lost(self) -> bool:
        """Whether it was given back, is another's, or its holder is gone: as the kernel knows it, or as a whole lease
        shows in which nobody touched it."""
        try:
            with self._path.open() as stream:
                free = _flock(stream, fcntl.LOCK_SH)
                found, touched = _written(stream), os.fstat(stream.fileno()).st_mtime
        except FileNotFoundError:
            return True
        except OSError:  # a disk that is away for a moment, and tells nothing of the holder
            self._looked = time.monotonic()
            return False
        if found.get("token") != self._token:
            return True
        if free is False or not _counts(found, free):
            return free is not False
        now = time.monotonic()
        # Of a look that the disk kept waiting no more counts than the holder lets pass between two touches: it may have
        # waited as well.
        self._still = 0.0 if touched != self._touched else self._still + min(BEAT, now - self._looked)
        self._looked, self._touched = now, touched
        return self._still >= LEASE


def describe(who: JsonMapping) -> str:
    """`process 4711 on host since 2025-01-31 10:00:00`."""
    return f"process {who.get('pid', '?')} on {who.get('host', '?')} since {who.get('since', '?')}"


def _take(path: Path) -> tuple[IO[str], bool]:
    """The file, with the lock; and whether the kernel has it, so that no process of this machine has it, too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        stream = path.open("a+")
        free = _locked(stream)
        if free is False:
            found = _written(stream)
            stream.close()
            raise Held(path, found)
        # The last holder may have removed the file between our open and our lock, or while we wait for another
        # machine's; then ours is a lock on nothing.
        try:
            if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                _outlast(path, free)
                return stream, free is True
        except FileNotFoundError:
            pass
        except Held:
            stream.close()
            raise
        stream.close()


def _outlast(path: Path, free: bool | None) -> None:
    """Wait until a lock that the kernel here knows nothing of is one of the past, or given back. Raises Held where its
    file is touched, and FileNotFoundError where it is removed."""
    touched = None
    while (found := _read(path)) and _counts(found, free) and _age(path) < LEASE:
        if touched is not None and _touched(path) != touched:
            raise Held(path, found)
        touched = _touched(path)
        time.sleep(min(1.0, LEASE / 10))


def _counts(found: JsonMapping, free: bool | None) -> bool:
    """Whether what is written may be another's lock although flock was had (True), or is not there (None)."""
    return free is None or found.get("host") != socket.gethostname()


def _age(path: Path) -> float:
    """Seconds since a file was touched, by the clock of the disk that it lies on."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".clock-") as file:
            now = os.fstat(file.fileno()).st_mtime
    except OSError:  # a folder that can only be read
        now = time.time()
    return now - _touched(path)


def _touched(path: Path) -> float:
    """When a file was touched last. It is opened, since a network file system asks its server then."""
    with path.open() as stream:
        return os.fstat(stream.fileno()).st_mtime


def _flock(stream: IO[str], kind: int) -> bool | None:
    """Whether the lock could be had; None where the file system has none."""
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in WITHOUT:
            return None
        raise
    return True


def _locked(stream: IO[str]) -> bool | None:
    refused = 0
    for _ in range(250):
        free = _flock(stream, fcntl.LOCK_EX)
        if free is not False:
            return free
        # Who only looks shares the lock for a moment, a longer one on a busy machine, which is no reason to give up.
        if _flock(stream, fcntl.LOCK_SH):
            fcntl.flock(stream, fcntl.LOCK_UN)
        elif (refused := refused + 1) == 5:
            return False
        time.sleep(0.02)
    return False


def _read(path: Path) -> JsonObject:
    """What the file at the path says now. Raises FileNotFoundError."""
    with path.open() as stream:
        return _written(stream)


def _written(stream: IO[str]) -> JsonObject:
    stream.seek(0)
    try:
        found = json.loads(stream.read())
    except ValueError:  # its holder is about to write it
        return {}
    return found if isinstance(found, dict) else {}
