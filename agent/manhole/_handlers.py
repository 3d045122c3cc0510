# SPDX-License-Identifier: BSD-2-Clause
"""Connection handlers in Python, and what they need. Imported when one is first used: it costs."""
import socket
import sys
import traceback

import manhole
from manhole import _agent


def make_socket(fd):
    """A blocking socket of the usual kind, also where gevent or eventlet have put another in its place."""
    kind = socket.socket
    if "gevent.monkey" in sys.modules:
        kind = sys.modules["gevent.monkey"].get_original("socket", "socket")
    elif "eventlet.patcher" in sys.modules:
        kind = sys.modules["eventlet.patcher"].original("socket").socket
    client = kind(fileno=fd)
    client.settimeout(None)
    return client


def leave(code=None):
    """exit() of a connection: the usual one closes the application's standard input too."""
    raise SystemExit(code)


def handle_connection_exec(client):
    names = {"exit": leave, "quit": leave}
    try:
        client.settimeout(None)
        with client.makefile("r", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                _agent.log("Running: %r." % line)
                exec(compile(line, "<manhole>", "exec"), names, _agent.locals())
    except SystemExit:
        _agent.log("Exiting exec loop.")
    finally:
        client.close()


def show_exception():
    """As the prompt does, without the frames of this file; sys.last_value stays what it was."""
    kind, value, trace = sys.exc_info()
    sys.stderr.write("".join(traceback.format_exception(kind, value, trace and trace.tb_next)))


def handle_repl(locals):
    import code
    import os

    namespace = {
        "__builtins__": __builtins__,
        "dump_stacktraces": manhole.dump_stacktraces,
        "os": os,
        "socket": socket,
        "sys": sys,
        "traceback": traceback,
    }
    namespace.update(locals or {})
    manhole.dump_stacktraces()
    sys.stderr.write(
        'Python %s on %s\nType "help", "copyright", "credits" or "license" for more information.\n'
        "(ManholeConsole)\n" % (sys.version, sys.platform)
    )
    compiler, lines = code.CommandCompiler(), []
    while True:
        try:
            lines.append(input("... " if lines else ">>> "))
            compiled = compiler("\n".join(lines), "<console>", "single")
            if compiled is None:
                continue
            lines = []
            exec(compiled, namespace)
        except EOFError:
            sys.stderr.write("\nnow exiting ManholeConsole...\n")
            return
        except SystemExit:
            return
        except KeyboardInterrupt:
            lines = []
            sys.stderr.write("\nKeyboardInterrupt\n")
        except BaseException:
            lines = []
            show_exception()
