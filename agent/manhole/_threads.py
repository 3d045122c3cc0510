# SPDX-License-Identifier: BSD-2-Clause
"""The documented classes: the logger, and a manhole as threads of Python's own.

install() needs none of this: its listener and its consoles are native threads. These serve
applications that bring a listening socket of their own, or that look at what is installed.
"""
import os
import signal
import threading
import time

import manhole
from manhole import _agent

FAULTS = {
    signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS, signal.SIGABRT,
}


def say(message, *args):
    """A log line, if there is anywhere to write it."""
    try:
        manhole._LOG(message, *args)
    except manhole.NotInstalled:
        pass


def name_kernel_thread(name):
    try:
        with open("/proc/thread-self/comm", "w") as comm:
            comm.write(name[:15])
    except OSError:
        pass


class Logger:
    """Writes lines where install() was told to. Before that it raises NotInstalled."""

    time = staticmethod(time.time)

    def __call__(self, message, *args):
        _agent.log(message % args if args else str(message))


class Listener:
    """The native thread of an installation, as far as it looks like a threading.Thread."""

    name = "Manhole"
    daemon = True

    @property
    def ident(self):
        """As threading.Thread.ident: the pthread id. None where no socket is open."""
        thread = _agent.listener_thread()
        return thread and thread[0]

    @property
    def native_id(self):
        thread = _agent.listener_thread()
        return thread and thread[1]

    def is_alive(self):
        return _agent.listener_thread() is not None

    def __repr__(self):
        state = "started daemon %d" % self.ident if self.is_alive() else "initial daemon"
        return "<ManholeThread(%s, %s)>" % (self.name, state)


class ManholeThread(threading.Thread):
    """Accepts on a socket and starts a ManholeConnectionThread for each client.

    get_socket: a function that returns the listening socket; called in the thread.
    sigmask: signals to block in it. start_timeout: how long start() waits for it to run.
    connection_handler: "repl", "exec" or a function that gets the client's socket.
    bind_delay: seconds before get_socket is called. daemon_connection: clients' threads are daemons.
    """

    def __init__(
        self, get_socket, sigmask, start_timeout, connection_handler, bind_delay=None, daemon_connection=False
    ):
        super().__init__(name="Manhole", daemon=True)
        self.options = dict(
            get_socket=get_socket,
            sigmask=sigmask,
            start_timeout=start_timeout,
            connection_handler=connection_handler,
            bind_delay=bind_delay,
            daemon_connection=daemon_connection,
        )
        self.runs = threading.Event()

    def clone(self, **kwargs):
        """A fresh thread with the same options, but for those given."""
        return type(self)(**dict(self.options, **kwargs))

    def start(self):
        super().start()
        timeout = self.options["start_timeout"]
        if not self.runs.wait(timeout):
            say("Waited %s seconds, but the Manhole thread does not run yet.", timeout)

    def run(self):
        name_kernel_thread(self.name)
        # Returns the mask before: that of the application, which its clients' threads get.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, set(self.options["sigmask"] or ()) - FAULTS)
        self.runs.set()
        if self.options["bind_delay"]:
            say("Delaying UDS binding %s seconds ...", self.options["bind_delay"])
            time.sleep(self.options["bind_delay"])
        listener = self.options["get_socket"]()
        while True:
            say("Waiting for new connection (in pid:%s) ...", os.getpid())
            try:
                client, _ = listener.accept()
            except OSError:
                return  # the application has closed it
            thread = ManholeConnectionThread(
                client, self.options["connection_handler"], self.options["daemon_connection"]
            )
            thread.mask = mask
            thread.start()


class ManholeConnectionThread(threading.Thread):
    """Checks a client's credentials and has the handler serve it. Keeps the process alive unless daemon."""

    mask = None  # of signals; None: what the thread inherits

    def __init__(self, client, connection_handler, daemon=False):
        super().__init__(name="ManholeConnectionThread", daemon=daemon)
        self.client = client
        self.connection_handler = connection_handler

    def run(self):
        say("Started ManholeConnectionThread thread. Checking credentials ...")
        if self.mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)
        try:
            # Ours first: what an application puts in its place can only refuse more.
            pid, uid, gid = _agent.check_credentials(self.client)
            manhole.check_credentials(self.client)
            name_kernel_thread("Manhole < PID:%s" % pid)
            say("Accepted connection on fd:%s from PID:%s UID:%s GID:%s", self.client.fileno(), pid, uid, gid)
        except Exception as error:
            say("%s: %s", type(error).__name__, error)
            self.client.close()
            return
        try:
            self.handler()(self.client)
        except SystemExit:
            pass
        except Exception as error:
            say("ManholeConnectionThread failure: %r", error)
        finally:
            self.client.close()
            say("DONE.")
            say("Cleaned up.")

    def handler(self):
        names = {"repl": "handle_connection_repl", "exec": "handle_connection_exec"}
        if self.connection_handler in names:
            return getattr(manhole, names[self.connection_handler])
        return self.connection_handler
