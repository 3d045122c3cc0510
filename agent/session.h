/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * One client's connection: what it typed, what waits to be sent to it, and what runs for it.
 *
 * Two threads meet here. The I/O thread (io.h) reads, sends, adds, removes; it calls no
 * Python API. The console thread (console.h) exists while something runs for the client, and holds
 * the GIL only to run code; turn.h says what it is at.
 *
 * The session's lock is a leaf: nobody takes the GIL, the I/O thread's lock or another session's under it,
 * so that it may be taken with the GIL held.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/inbox.h"
#include "agent/peer.h"
#include "agent/queue.h"
#include "lib/frame.h"

/* The longest piece of a session's own output that is queued. */
#define SESSION_PIECE_MAX (16U * 1024U)
/* A client that took nothing for so long, while somebody waits for it, loses its session. */
#define SESSION_STALL_SEC 5

enum {
        _SESSION_E_SUCCESS,
        SESSION_E_FULL,        /* no room now: output_wait_room() */
        SESSION_E_LOST,        /* the client is gone, or lost its session: discard */
        SESSION_E_END,         /* end of input */
        SESSION_E_INTERRUPTED, /* the client asks to interrupt; the flag was taken */
        SESSION_E_AGAIN,       /* not within the time */
};

typedef enum SessionRun {
        SESSION_RUNS_NOTHING,
        SESSION_RUNS_CONSOLE,
        SESSION_RUNS_EXEC,
        SESSION_RUNS_FUNCTION, /* of the application, with the socket itself */
} SessionRun;

/* Whether the application lets the client in, where it wants to be asked (credentials.h). */
typedef enum SessionVerdict {
        SESSION_ADMITTED,
        SESSION_ASKED,   /* nothing is read or sent yet */
        SESSION_PASSED,  /* the I/O thread has still to begin */
        SESSION_REFUSED, /* the I/O thread has still to close */
} SessionVerdict;

/* Stacks that the client wants to see: who has them with the GIL shows them, unless they are overdue
 * (overdue.h). */
typedef enum WishState {
        WISH_NONE,
        WISH_WAITS,  /* for the GIL */
        WISH_COMING, /* a thread is about to show them, or to answer */
} WishState;

typedef struct Wish {
        WishState state;
        int64_t begun_ns, due_ns;
        uint32_t id; /* of the request */
        bool always; /* without the GIL, whatever the size of the process */
        bool locals; /* with the GIL, each frame's variables too */
} Wish;

/* A request that only Python can answer (question.h). */
typedef enum QuestionState {
        QUESTION_NONE,
        QUESTION_WAITS,    /* for the GIL */
        QUESTION_BEGUN,    /* a thread makes the answer */
        QUESTION_OVERDUE,  /* still, but the client has been told */
        QUESTION_ANSWERED, /* there is one; it waits for room */
} QuestionState;

typedef struct Question {
        QuestionState state;
        int64_t begun_ns, due_ns;
        uint32_t type, id;
        char *payload; /* owned */
        size_t n_payload;
        bool asker; /* a thread is there to answer */
} Question;

/* Who takes bytes from the socket. */
typedef enum SessionReader {
        SESSION_READER_NONE,    /* nobody at this moment; the I/O thread is to be told of any */
        SESSION_READER_IO,      /* the I/O thread: it holds some that it has yet to put into the inbox */
        SESSION_READER_CONSOLE, /* the console thread, while it waits for a line */
} SessionReader;

/* Notices a client that takes nothing any more. */
typedef struct SessionStall {
        int64_t since_ns; /* 0 = not watched */
        uint64_t n_sent;
        int n_unread;
} SessionStall;

typedef struct Session {
        atomic_uint n_refs;
        pid_t owner; /* the process: a child after fork must leave it alone */
        Peer peer;
        int accepted_fd; /* for the log: what fd was at first */
        bool framed;
        bool brokered;                   /* keeps the process no longer alive */
        struct Session *previous, *next; /* the I/O thread's list, under its lock */

        pthread_mutex_t lock;
        pthread_cond_t changed;

        /* Under the lock. */
        int fd;          /* owned; -1 once the I/O thread has closed it, when nobody else uses it */
        int epoll_fd;    /* borrowed from the I/O thread: open as long as fd is */
        uint32_t events; /* what epoll watches */
        int waker_fd;    /* owned: ends session_poll(); -1 without */
        bool polling;    /* a thread is in session_poll() */
        bool sending;    /* a thread sends without the lock: nobody else sends or frees pieces */
        bool blocked;    /* the socket took no more */
        bool saw_end;    /* the client has shut its side down */
        SessionReader reader;
        Inbox inbox;
        Queue queue;
        Wish opened; /* stacks at the beginning of a console */
        Wish asked;  /* the request for stacks */
        Question question;
        uint64_t n_sent;
        SessionVerdict verdict;
        bool lost;        /* nothing is read or sent any more */
        int given_fd;     /* owned: the connection, for whoever serves it instead; or -1 */
        bool ending;      /* send what waits, then close */
        bool interrupted; /* asked for and not yet taken */
        bool waiting;     /* the console thread waits here, without the GIL */
        bool running;     /* user code runs: changed with the GIL held too */
        bool stays;       /* its console is in a thread of the application's, which cannot be left */
        bool errand;      /* one is on its way to interrupt, or looks what comes of it */
        uint64_t turn;    /* another one whenever code begins or ends, or comes to wait */
        SessionRun run;
        uint32_t run_id;
        bool open_banner;
        bool asker;   /* a thread waits for the GIL to answer it */
        char *source; /* owned: what to exec */
        size_t n_source;
        bool copies_stdout, copies_stderr; /* other threads' output is copied to the client */
        unsigned long thread_id;           /* of the console thread, as Python knows it */
        struct Client *client;             /* of the console thread, or NULL: with the GIL held only */

        /* Of the I/O thread alone. */
        FrameScanner scanner;
        uint8_t *payload; /* owned: of the request that is being read */
        size_t n_payload;
        bool function;   /* a plain one is to be served by a function */
        bool given_away; /* somebody else serves the connection */
        bool undecided;  /* the application was asked, and its word is not acted on yet */
        SessionStall stall;
} Session;

/* Takes over @fd, also on failure. NULL without memory. */
Session *session_new_consume(int fd, const Peer *peer, bool framed);
Session *session_ref(Session *s);
Session *session_unref(Session *s);

/* The session is over for the child, whose descriptors the caller has closed. Child after fork. */
void session_fork_child(Session *s);

/* Tells epoll what the I/O thread is to hear of. Under the lock. */
void session_watch(Session *s);

/* Something has changed for who waits. Under the lock. */
void session_notify(Session *s);

/* Waits for a change until then (clock_now_ns()). Under the lock, which it lets go of meanwhile. */
void session_wait_until(Session *s, int64_t ns);

/*
 * Waits for these events of the client's socket, up to @msec (-1: for ever), or for a change. Returns
 * the events that came. One thread at a time, which is the reader or the sender, and only with a waker.
 * Under the lock, which it lets go of meanwhile; GIL not held.
 */
short session_poll(Session *s, short events, int msec);

/* Queues output if there is room; output.h has what sends it. Any thread. 0, SESSION_E_FULL,
 * SESSION_E_LOST. @ret_queued: how many bytes wait to be sent. */
int session_offer(Session *s, uint32_t type, const void *data, size_t n, size_t *ret_queued);

/* The application's word on the client. Any thread. */
void session_judge(Session *s, bool allowed);

/* Another descriptor of the connection, for the caller to close; or negative errno. Any thread. */
int session_duplicate_fd(Session *s);

/* The connection is no longer the I/O thread's, which closes its descriptor and no more; 0 or negative
 * errno. I/O thread. And takes it, for the caller to close; -1 the second time. Any thread. */
int session_give(Session *s);
int session_take(Session *s);

/* As session_offer(), for an answer under another id than the run's. I/O thread. */
int session_answer(Session *s, uint32_t id, const void *data, size_t n);

/* Queues what says that the run is over, and makes it so in one step. Console thread. */
int session_offer_end(Session *s, const void *data, size_t n);

/* Which streams' copies the client gets from now on. */
void session_receive_copies(Session *s, bool of_stdout, bool of_stderr);

/* Queues a copy of another thread's output, or drops and counts it. Any thread. Says how urgently the
 * I/O thread must look. */
typedef enum SessionUrgency {
        SESSION_NOTHING, /* there is nothing to send, or no way to */
        SESSION_SOON,
        SESSION_NOW,
} SessionUrgency;
SessionUrgency session_copy(Session *s, const void *data, size_t n, bool is_stderr);

/* Queues output of this run that comes from a thread which must not wait, or drops and counts it as a copy.
 * Any thread. */
void session_offer_aside(Session *s, uint32_t run_id, uint32_t type, const void *data, size_t n);

/* True if the client has taken nothing for SESSION_STALL_SEC. Under the lock. */
bool session_stalled(Session *s, SessionStall *stall);
