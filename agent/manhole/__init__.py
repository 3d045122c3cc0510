# SPDX-License-Identifier: BSD-2-Clause
"""A console into this process, on a Unix domain socket, for its own user and root.

    import manhole
    manhole.install()

and then `socat - UNIX-CONNECT:/tmp/manhole-PID`, or `manholectl attach PID`.
"""
import sys

try:
    import manhole._agent
except ImportError as error:
    # No word of CPython's says why: PyPy and free-threaded builds just do not look for such a file.
    raise ImportError(
        "manhole's agent needs CPython with a GIL, 3.8 or later, and the C library it was built with; this is %s: %s"
        % (" ".join(sys.version.split()), error), name="manhole._agent",
    ) from None
from manhole._agent import (
    AlreadyInstalled,
    ConfigurationConflict,
    NotInstalled,
    SuspiciousClient,
    check_credentials,
    dump_stacktraces,
    get_peercred,
    handle_connection_exec,
    handle_connection_repl,
    handle_repl,
)
from manhole import _agent

__all__ = [
    "ALL_SIGNALS",
    "AlreadyInstalled",
    "ConfigurationConflict",
    "Logger",
    "Manhole",
    "ManholeConnectionThread",
    "ManholeThread",
    "NotInstalled",
    "SuspiciousClient",
    "check_credentials",
    "dump_stacktraces",
    "get_peercred",
    "handle_connection_exec",
    "handle_connection_repl",
    "handle_repl",
    "install",
]


_MANHOLE = None


class Manhole:
    """What install() has put in place."""

    _number = 0

    def release(self):
        """Removes the socket and the signal handler. Consoles that are open stay."""
        _agent.release(self._number)

    @property
    def thread(self):
        """The listener, as far as it is like a threading.Thread: ident, native_id, is_alive()."""
        from manhole._threads import Listener

        return Listener()

    @property
    def locals(self):
        return _agent.locals()

    def activate_on_signal(self, signum=None, frame=None):
        """Opens the socket: the handler of activate_on."""
        _agent.activate(self._number)

    def handle_oneshot(self, signum=None, frame=None):
        """Waits for one client and serves it in this thread: the handler of oneshot_on."""
        _agent.oneshot(self._number)


def install(verbose=True, verbose_destination=2, strict=True, **kwargs):
    """Opens the console's socket. The options are those of python-manhole.

    verbose: False keeps the log lines back.
    verbose_destination: a file descriptor or file object for them; default 2.
    strict: False undoes an installation that exists instead of raising AlreadyInstalled.
    patch_fork: False leaves children after fork without a socket.
    reinstall_delay: seconds after which such a child opens its own; default 0.5.
    socket_path: instead of /tmp/manhole-PID.
    locals: names to add to each console's.
    redirect_stderr: False leaves stderr to the application.
    thread: False opens no socket.
    activate_on: a signal that opens it, by number or name; nothing is open before that.
    oneshot_on: a signal whose handler waits for one client and serves it, in the main thread.
    daemon_connection: True lets the process end while consoles are open.
    connection_handler: "repl"; "exec", without redirection; or a function that gets the socket.
    accept: "root" keeps this process's own user out too; only root and manholed get in.
    sigmask: the signals that the agent's threads block; default all but faults.

    A socket that cannot be opened is logged and stops nothing. A bad option raises TypeError or
    ValueError with its name; activate_on together with oneshot_on raises ConfigurationConflict.
    """
    kwargs.update(verbose=verbose, verbose_destination=verbose_destination, strict=strict)
    global _MANHOLE
    manhole = Manhole()
    manhole._number = _agent.install(kwargs, manhole)
    _MANHOLE = manhole
    return manhole


# Not at import: `signal` alone, and `threading` alone, take longer than all the rest.
_LAZY = {"Logger", "ManholeThread", "ManholeConnectionThread"}


def __getattr__(name):
    if name in _LAZY:
        from manhole import _threads

        value = getattr(_threads, name)
    elif name == "_LOG":
        value = __getattr__("Logger")()
    elif name == "ALL_SIGNALS":
        import signal

        # 3.7 cannot tell; what is missing there is what the C library keeps to itself.
        known = getattr(signal, "valid_signals", lambda: set(range(1, signal.NSIG)) - {32, 33})
        value = [int(s) for s in known()]
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


class _Package(type(_agent)):
    # The agent learns which of its functions the application replaces without asking for each client.
    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        _agent.notice(name, value)

    def __delattr__(self, name):
        super().__delattr__(name)
        _agent.notice(name, None)


sys.modules[__name__].__class__ = _Package
