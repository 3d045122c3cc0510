/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Constants of the console protocol, spoken on an agent's socket.
 *
 * docs/CONSOLE-PROTOCOL.md is the contract; this file is its only spelling in C, shared by the
 * agent, the daemon and the tools. Nothing here allocates, logs or does I/O.
 */

/* A client that wants frames binds its own socket to the abstract name "\0manhole/1/<random>"
 * before it connects; the agent reads that name at accept (unix(7), "Abstract sockets"). */
#define CONSOLE_NAME_PREFIX "manhole/"
#define CONSOLE_VERSION 1

/* The broker's sockets say so in their names, after the version or, for plain text, before all: a
 * session through it never keeps a process alive that wants to end. Whoever else says it, says it of
 * himself. */
#define CONSOLE_BROKER_MARK "broker-"
#define CONSOLE_BROKER_PREFIX "manhole-broker/"

/* Plain face: this byte interrupts the running code, or clears the pending input. */
#define CONSOLE_ETX 0x03

/* The agent reads ahead this many bytes of plain input while code runs, so that an ETX behind a
 * paste is seen. A client that sends more than this unread loses its session. */
#define CONSOLE_READ_AHEAD_MAX (1024U * 1024U)

/* An answer's `hello` is padded with spaces to a multiple of this many bytes. The length comes
 * first on the wire, little-endian, so an agent's first byte is NUL; a console that speaks text
 * never begins with one. */
#define CONSOLE_HELLO_ALIGN 256U

/* What a client asks. INPUT and INTERRUPT carry the id of the OPEN or EXEC they belong to and are
 * not answered; all others are answered under their own id. */
typedef enum ConsoleRequest {
        CONSOLE_HELLO = 1,     /* payload: empty. Answer: CONSOLE_ANSWER, the hello object again */
        CONSOLE_OPEN = 2,      /* payload: `name=value` lines. A console; ends with CONSOLE_END */
        CONSOLE_INPUT = 3,     /* payload: bytes typed; empty = end of input (Ctrl-D) */
        CONSOLE_INTERRUPT = 4, /* payload: empty. Ctrl-C */
        CONSOLE_EXEC = 5,      /* payload: UTF-8 source. Ends with CONSOLE_END */
        CONSOLE_COMPLETE = 6,
        CONSOLE_HISTORY = 7,
        CONSOLE_STACKS = 8,
        CONSOLE_TASKS = 9,
        CONSOLE_HEALTH = 10,
        _CONSOLE_REQUEST_MAX,
} ConsoleRequest;

/* What an agent answers. */
typedef enum ConsoleReply {
        CONSOLE_ANSWER = 128, /* JSON object; `error` in it names what went wrong */
        CONSOLE_OUTPUT = 129, /* bytes for the console, or an exec's standard output */
        CONSOLE_STDERR = 130, /* bytes of an exec's standard error */
        CONSOLE_PROMPT = 131, /* the console waits for a line; payload: the prompt's text */
        CONSOLE_DROPPED = 132, /* JSON {"bytes":N}: copies of output dropped at this place */
        CONSOLE_END = 133,    /* JSON {"reason":…}: the console or exec is over */
        _CONSOLE_REPLY_MAX,
} ConsoleReply;

/* What the broker itself says to a client, between two frames of the agent. An agent never does. */
typedef enum ConsoleBroker {
        CONSOLE_NOTICE = 192, /* JSON {"kind":…, "text":…}: about the session, for a person */
        CONSOLE_TYPED = 193,  /* to who watches: what the session's user typed */
        _CONSOLE_BROKER_MAX,
} ConsoleBroker;
