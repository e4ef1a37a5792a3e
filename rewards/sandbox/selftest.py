"""What no program may do, tried. The zygote runs this under one layer at a time; the grader sends it as a program."""

# _socket, since the zygote has loaded it: as a program this text runs where no file can be opened, so that whatever it
# imports has to be there already.
import _socket
import errno
import os
from collections.abc import Callable


def _name_of_error(action: Callable[[], object]) -> str:
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return ""


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def attempts() -> dict[str, str]:
    """For each of socket, open, fork and kill the name of the error that it gave; "" where it succeeded."""
    actions: dict[str, Callable[[], object]] = {
        "socket": lambda: _socket.socket(_socket.AF_UNIX),
        "open": lambda: os.open("/", os.O_RDONLY),
        "fork": _fork,
        # Signal 0 only asks whether it would be allowed. The parent is 0 where it is outside of the namespace.
        "kill": lambda: os.kill(os.getppid() or os.getpid(), 0),
    }
    return {name: _name_of_error(action) for name, action in actions.items()}


def error_of_reading(path: str) -> str:
    """The name of the error that opening a file for reading gave; "" where it succeeded."""
    return _name_of_error(lambda: os.close(os.open(path, os.O_RDONLY)))


def error_of_routing() -> str:
    """The name of the error that asking for a way to another machine gave (nothing is sent); "" where there is one."""

    def connect() -> None:
        datagrams = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
        try:
            datagrams.connect(("192.0.2.1", 9))  # an address that is kept for examples
        finally:
            datagrams.close()

    return _name_of_error(connect)
