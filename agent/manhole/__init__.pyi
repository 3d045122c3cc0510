# SPDX-License-Identifier: BSD-2-Clause
from os import PathLike
from socket import socket
from threading import Thread
from types import FrameType
from typing import Any, Callable, Iterable, Optional, Protocol, Union

ALL_SIGNALS: list[int]

class AlreadyInstalled(Exception): ...
class NotInstalled(Exception): ...
class ConfigurationConflict(Exception): ...
class SuspiciousClient(Exception): ...

class _Socket(Protocol):
    def fileno(self) -> int: ...

class _Destination(Protocol):
    def write(self, text: str, /) -> object: ...

class Logger:
    @staticmethod
    def time() -> float: ...
    def __call__(self, message: object, *args: object) -> None: ...

class _Listener(Protocol):
    name: str
    daemon: bool
    @property
    def ident(self) -> Optional[int]: ...
    @property
    def native_id(self) -> Optional[int]: ...
    def is_alive(self) -> bool: ...

_Handler = Union[str, Callable[[socket], object]]

class ManholeThread(Thread):
    def __init__(
        self,
        get_socket: Callable[[], socket],
        sigmask: Optional[Iterable[int]],
        start_timeout: float,
        connection_handler: _Handler,
        bind_delay: Optional[float] = None,
        daemon_connection: bool = False,
    ) -> None: ...
    def clone(self, **kwargs: Any) -> ManholeThread: ...

class ManholeConnectionThread(Thread):
    def __init__(self, client: socket, connection_handler: _Handler, daemon: bool = False) -> None: ...

_LOG: Logger
_MANHOLE: Optional[Manhole]

class Manhole:
    @property
    def thread(self) -> _Listener: ...
    @property
    def locals(self) -> dict[str, Any]: ...
    def release(self) -> None: ...
    def activate_on_signal(
        self, signum: Optional[int] = None, frame: Optional[FrameType] = None
    ) -> None: ...
    def handle_oneshot(
        self, signum: Optional[int] = None, frame: Optional[FrameType] = None
    ) -> None: ...

def install(
    verbose: bool = True,
    verbose_destination: Union[int, _Destination] = 2,
    strict: bool = True,
    *,
    patch_fork: bool = True,
    activate_on: Union[int, str, None] = None,
    oneshot_on: Union[int, str, None] = None,
    thread: bool = True,
    sigmask: Optional[Iterable[Union[int, str]]] = None,
    socket_path: Union[str, PathLike[str], None] = None,
    reinstall_delay: float = 0.5,
    locals: Optional[dict[str, Any]] = None,
    daemon_connection: bool = False,
    redirect_stderr: bool = True,
    connection_handler: _Handler = "repl",
    start_timeout: float = 0.5,
    accept: Optional[str] = None,
) -> Manhole: ...
def dump_stacktraces(locals: bool = ...) -> None: ...
def get_peercred(sock: _Socket, /) -> tuple[int, int, int]: ...
def check_credentials(client: _Socket, /) -> tuple[int, int, int]: ...
def handle_connection_repl(client: socket, /) -> None: ...
def handle_connection_exec(client: socket, /) -> None: ...
def handle_repl(locals: Optional[dict[str, Any]], /) -> None: ...
