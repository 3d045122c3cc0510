# SPDX-License-Identifier: BSD-2-Clause
"""The tools' command lines, manuals and standard streams, without a daemon."""
import os
import re
import subprocess

import pytest

from clilib import (DONE, EXEC, FAILED, MANHOLE_CLI, MANHOLECTL, OUTPUT, PATIENCE, SOURCE, USAGE,
                    environment, fake_daemon, frame, hello, one_line, run, target)


def options_of(text):
    return set(re.findall(r"(?<![\w-])-{1,2}[A-Za-z0-9][\w-]*", text))


@pytest.mark.parametrize("name", ["manholectl", "manhole-cli"])
def test_manual_has_the_options_of_the_help(name):
    program = {"manholectl": MANHOLECTL, "manhole-cli": MANHOLE_CLI}[name]
    shown = options_of(run("--help", program=program).stdout)
    roff = (SOURCE / f"cli/{name}.1").read_text().replace(r"\-", "-")
    section = roff[roff.index(".SH OPTIONS"):]
    section = section[:section.index(".SH", 4)]
    heads = "\n".join(re.findall(r"^\.TP\n(.*)$", section, re.MULTILINE))
    assert len(shown) > 4
    assert options_of(re.sub(r"\\f[IR]|\\&", " ", heads)) == shown


def test_help_names_every_verb_of_the_manual():
    help = run("help").stdout
    assert help == run("--help").stdout
    section = (SOURCE / "cli/manholectl.1").read_text().split(".SH VERBS")[1].split(".SH")[0]
    verbs = set(re.findall(r'^\.BI? "?([a-z]+)', section, re.MULTILINE))
    assert verbs == set(re.findall(r"^  ([a-z]+) ", help.split("Verbs:")[1].split("TARGET is")[0],
                                   re.MULTILINE))
    assert "manholectl(1)" in help


def test_version():
    result = run("--version")
    assert result.returncode == DONE
    assert re.fullmatch(r"manholectl \d+\.\d+\.\d+\n", result.stdout)


@pytest.mark.parametrize("args, message", [
    (["atach", "1"], "unknown verb 'atach', did you mean 'attach'?"),
    (["frobnicate"], "unknown verb 'frobnicate'"),
    (["evil\x1b[2J"], r"unknown verb 'evil\x1b[2J'"),
    (["--frobnicate"], "unknown option --frobnicate"),
    (["-x"], "unknown option -x"),
    (["--control"], "option --control needs an argument"),
    (["exec", "1", "-f"], "option -f needs an argument"),
    (["--no-legend=x"], "option --no-legend=x takes no argument"),
    (["--json=xml"], "--json takes short, pretty or off, not 'xml'"),
    (["list", "1"], "list takes no arguments"),
    (["status", "1", "2"], "status takes TARGET"),
    (["metrics", "1"], "metrics takes no arguments"),
    (["attach"], "attach needs TARGET"),
    (["attach", "1", "2"], "attach takes TARGET"),
    (["attach", "--direct", "--resume=x"], "a session without manholed cannot be taken up again"),
    (["exec", "1", "1", "--resume=x"], "exec does not take --resume"),
    (["exec"], "exec needs TARGET CODE|-"),
    (["exec", "1"], "exec takes one of CODE, -f FILE and -"),
    (["exec", "1", "1", "-f", "x"], "exec takes one of CODE, -f FILE and -"),
    (["list", "--direct"], "list does not take --direct"),
    (["attach", "1", "--json=short"], "attach does not take --json"),
    (["list", "--reason=x"], "list does not take --reason"),
    (["exec", "1", "1", "--timeout=0"], "--timeout takes a number of seconds, not '0'"),
    (["exec", "1", "1", "--timeout=1h"], "--timeout takes a number of seconds, not '1h'"),
    (["attach", "--direct", "name"], "without manholed a target is a PID or the path of a socket, not name"),
])
def test_usage_error_is_one_line(args, message):
    result = run(*args)
    assert result.returncode == USAGE
    assert result.stdout == ""
    assert one_line(result.stderr) == message


@pytest.mark.parametrize("args, message", [
    ([], "exactly one PID is needed"),
    (["1", "2"], "exactly one PID is needed"),
    (["-x", "1"], "unknown option: -x"),
    (["-t"], "an argument is missing behind: -t"),
    (["-t", "soon", "1"], "not a number of seconds: soon"),
    (["-1", "-2", "1"], "only one of -1, -2 and -s can be given"),
    (["-s", "FOO", "1"], "not a signal: FOO"),
    (["/tmp/nowhere"], "neither a process id nor a path in the form /tmp/manhole-1234: /tmp/nowhere"),
    (["-5"], "unknown option: -5"),
])
def test_usage_error_of_manhole_cli(args, message):
    result = run(*args, program=MANHOLE_CLI)
    assert result.returncode == USAGE
    assert one_line(result.stderr, "manhole-cli") == message


def test_without_a_daemon_says_where_it_looked(tmp_path):
    result = run("list", f"--control={tmp_path}/none")
    assert result.returncode == FAILED
    assert one_line(result.stderr) == \
        f"cannot connect to manholed at {tmp_path}/none: No such file or directory"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@pytest.mark.skipif(os.path.exists("/run/manholed/control"), reason="a manholed runs on this machine")
def test_a_user_s_own_daemon_is_the_default_of_a_user(tmp_path):
    result = run("list", env={"XDG_RUNTIME_DIR": "/nowhere"}, user=65534, group=65534, extra_groups=[],
                 cwd="/")
    assert "/nowhere/manholed/control" in one_line(result.stderr)
    result = run("list", env={"XDG_RUNTIME_DIR": str(tmp_path)})
    assert "/run/manholed/control" in one_line(result.stderr)


def listing(peer):
    peer.call()
    peer.reply({"targets": [target(7)]})


def test_a_full_disk_is_reported():
    with fake_daemon(listing) as fake, open("/dev/full", "w") as full:
        result = subprocess.run([MANHOLECTL, "list"], stdout=full, stderr=subprocess.PIPE, text=True,
                                env=environment(MANHOLED_CONTROL=str(fake.control)), timeout=PATIENCE)
    assert result.returncode == FAILED
    assert one_line(result.stderr) == "cannot write to standard output: No space left on device"


def test_a_closed_stdout_is_reported_and_never_becomes_the_connection():
    received = []

    def script(peer):
        peer.attach()
        peer.send(hello())
        assert peer.frame()[0] == EXEC
        peer.send(frame(OUTPUT, b"for standard output"))
        try:
            received.append(peer.frame())
        except EOFError:
            received.append(peer.seen)

    with fake_daemon(script) as fake:
        result = subprocess.run(["sh", "-c", 'exec "$0" exec x 1 >&-', MANHOLECTL], stderr=subprocess.PIPE,
                                text=True, env=environment(MANHOLED_CONTROL=str(fake.control)),
                                timeout=PATIENCE)
    assert received == [b""]
    assert result.returncode == FAILED
    assert one_line(result.stderr) == "cannot write to standard output: Bad file descriptor"


def test_a_reader_that_went_away_is_no_news():
    with fake_daemon(listing) as fake:
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as stdout:
            result = subprocess.run([MANHOLECTL, "list"], stdout=stdout, stderr=subprocess.PIPE, text=True,
                                    env=environment(MANHOLED_CONTROL=str(fake.control)),
                                    timeout=PATIENCE)
    assert result.returncode == FAILED
    assert result.stderr == ""
