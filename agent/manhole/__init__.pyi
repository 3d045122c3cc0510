# SPDX-License-Identifier: BSD-2-Clause
from os import PathLike
from types import FrameType
from typing import Any, Callable, Iterable, Optional, Protocol, Union

ALL_SIGNALS: list[int]

class AlreadyInstalled(Exception): ...
class NotInstalled(Exception): ...
class ConfigurationConflict(Exception): ...
class SuspiciousClient(Exception): ...

class _Destination(Protocol):
    def write(self, text: str, /) -> object: ...

class Manhole:
    def release(self) -> None: ...
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
    sigmask: Optional[Iterable[int]] = None,
    socket_path: Union[str, PathLike[str], None] = None,
    reinstall_delay: float = 0.5,
    locals: Optional[dict[str, Any]] = None,
    daemon_connection: bool = False,
    redirect_stderr: bool = True,
    connection_handler: Union[str, Callable[[Any], object]] = "repl",
    start_timeout: float = 0.5,
) -> Manhole: ...
def dump_stacktraces() -> None: ...
