/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/dump.h"

#include <Python.h>

#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/gil.h"

/* faulthandler keeps a table by signal, and takes an application's later register() of the same one
 * for a change of ours. So not SIGRTMAX, but one that nobody has a name for; the next lower ones if
 * somebody uses it. */
#define SIGNAL_FIRST 53
#define SIGNAL_LAST 40

#define TEXT_MAX (4U * 1024U * 1024U)
#define CHILD_MSEC 500 /* the copy gives up by itself */
#define KILL_MSEC 700  /* and if it does not */
#define STEP_MSEC 10
/* A copy that failed sooner than that gets a second chance: the first was made at a bad moment. */
#define AGAIN_MSEC 80
/* In the copy, so many descriptors lead to the dump: an application may have told faulthandler to use
 * another one than we did. */
#define CHILD_DESCRIPTORS 256

/* faulthandler shows so many threads at a time, and the copy asks it so often. */
#define THREADS_AT_A_TIME 100
#define ROUNDS_MAX 40
/* Where the interpreter's list of threads begins is looked for in so many words of it. */
#define INTERPRETER_WORDS 4096
/* And where a thread's entry leads to the next: near its beginning. */
#define THREAD_WORDS 8

enum {
        RUNNING,
        WHOLE,
        CUT
};

struct DumpShared {
        atomic_uint state; /* a futex */
        uint32_t n_text;
        char text[TEXT_MAX];
};

static void (*handler)(int signal);
static int handler_signal;

/* Not in the stable ABI, but in every interpreter so far. Only the copy uses them, and it does not
 * believe them blindly. */
static struct {
        void *(*head)(void *interpreter);
        void *(*next)(void *thread);
        void *interpreter;
} threads;

/* In a child whose fork Python does not know of, nothing is left of its parent's threads but their
 * entries: they are in the list from @first on, and only @forker is here. */
static struct {
        bool any;
        void *first, *forker;
} stale;

/* faulthandler.register(signal, file=2, all_threads=True, chain=False). */
static bool register_signal(int signal) {
        PyObject *module = PyImport_ImportModule("faulthandler"), *call = NULL, *result = NULL;

        if (module != NULL)
                call = PyObject_GetAttrString(module, "register");
        if (call != NULL)
                result = PyObject_CallFunction(call, "iiii", signal, STDERR_FILENO, 1, 0);
        PyErr_Clear();
        Py_XDECREF(result);
        Py_XDECREF(call);
        Py_XDECREF(module);
        return result != NULL;
}

static void find_threads(void) {
        threads.head = (void *(*)(void *))dlsym(RTLD_DEFAULT, "PyInterpreterState_ThreadHead");
        threads.next = (void *(*)(void *))dlsym(RTLD_DEFAULT, "PyThreadState_Next");
        if (threads.head != NULL && threads.next != NULL)
                threads.interpreter = gil_main_interpreter();
}

void dump_setup(void) {
        struct sigaction old, ours;
        int signal;

        if (handler != NULL)
                return;
        for (signal = SIGNAL_FIRST; signal >= SIGNAL_LAST; signal--)
                if (sigaction(signal, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
                        break;
        if (signal < SIGNAL_LAST || !register_signal(signal))
                return;
        if (sigaction(signal, &old, &ours) == 0 && ours.sa_handler != SIG_DFL) {
                handler_signal = signal;
                handler = ours.sa_handler;
                find_threads();
        }
}

void dump_fork_child(void) {
        stale.any = true;
        if (threads.interpreter == NULL)
                return;
        stale.first = threads.head(threads.interpreter);
        stale.forker = PyGILState_GetThisThreadState();
}

void dump_fork_known(void) {
        stale.any = false;
        stale.first = stale.forker = NULL;
}

bool dump_list_is_stale(void) {
        return stale.any;
}

/*
 * The copy. Only this thread lives in it, and any lock may be held for ever: nothing here allocates
 * or locks. The extension is linked with -z now, so that no call has to find its function first.
 */

static DumpShared *child_shared;
static int child_fd = -1;

static _Noreturn void child_finish(unsigned state) {
        ssize_t n = pread(child_fd, child_shared->text, TEXT_MAX, 0);

        child_shared->n_text = n > 0 ? (uint32_t)n : 0;
        atomic_store(&child_shared->state, state);
        syscall(SYS_futex, &child_shared->state, FUTEX_WAKE, 1, NULL, NULL, 0);
        _exit(0);
}

/* The structures were not in order, or time is up: what is written so far counts. */
static void child_failed(int signal) {
        child_finish(CUT);
}

/* Changes that of @n words in which @get finds its answer. That is done to the copy alone. */
static bool child_set(void *(*get)(void *), void *words, size_t n, void *value) {
        void *old = get(words), **word = words;

        for (; n > 0 && old != value; n--, word++) {
                if (*word != old)
                        continue;
                *word = value;
                if (get(words) == value)
                        return true;
                *word = old;
        }
        return old == value;
}

/* Makes the interpreter's list of threads begin with @thread. */
static bool child_set_head(void *thread) {
        return child_set(threads.head, threads.interpreter, INTERPRETER_WORDS, thread);
}

/* Shows the threads from @first on and before @end. */
static void child_show(void *first, void *end) {
        void *last = first;

        while (last != NULL && threads.next(last) != end)
                last = threads.next(last);
        if (last != NULL && child_set(threads.next, last, THREAD_WORDS, NULL) && child_set_head(first))
                handler(handler_signal);
}

static void child_show_fresh(void) {
        void *first = threads.head(threads.interpreter);
        void *after = stale.forker != NULL ? threads.next(stale.forker) : NULL;

        if (first != stale.first)
                child_show(first, stale.first);
        if (stale.forker != NULL)
                child_show(stale.forker, after);
}

/* 3.14 ends its list at a thread that is just being made. How many threads it has shown, or -1 when it
 * came to the end. */
static int child_count_before_freed(void) {
        static const char last[] = "<freed thread state>\n", header[] = "hread 0x";
        ssize_t n = pread(child_fd, child_shared->text, TEXT_MAX, 0);
        const char *p = child_shared->text, *end = p + (n > 0 ? n : 0);
        int count = 0;

        if (end - p < (ssize_t)sizeof(last) - 1 || memcmp(end - (sizeof(last) - 1), last, sizeof(last) - 1) != 0)
                return -1;
        for (; (p = memmem(p, (size_t)(end - p), header, sizeof(header) - 1)) != NULL; p++)
                count++;
        return count;
}

/* Shows those behind it; nothing of it is lost but that one thread. */
static void child_show_behind_freed(void) {
        void *first = threads.interpreter != NULL ? threads.head(threads.interpreter) : NULL;
        int n_skipped = 0, n;

        while (first != NULL && n_skipped < ROUNDS_MAX && (n = child_count_before_freed()) >= 0) {
                void *thread = first;

                n_skipped++;
                for (n += n_skipped; n > 0 && thread != NULL; n--)
                        thread = threads.next(thread);
                if (thread == NULL || !child_set_head(thread))
                        return;
                handler(handler_signal);
        }
}

/* The newest threads come first in the list: the main thread would be the first to be left out. */
static void child_show_more(void) {
        for (int round = 0; threads.interpreter != NULL && round < ROUNDS_MAX; round++) {
                void *thread = threads.head(threads.interpreter);

                for (int i = 0; i < THREADS_AT_A_TIME && thread != NULL; i++)
                        thread = threads.next(thread);
                if (thread == NULL || !child_set_head(thread))
                        return;
                handler(handler_signal);
        }
}

static _Noreturn void child_main(DumpShared *shared) {
        static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM };
        static const struct itimerval limit = { .it_value.tv_usec = CHILD_MSEC * 1000 };
        struct sigaction action = { .sa_handler = child_failed };
        sigset_t alarm_set;

        child_shared = shared;
        for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
                sigaction(signals[i], &action, NULL);
        sigemptyset(&alarm_set);
        sigaddset(&alarm_set, SIGALRM);
        sigprocmask(SIG_UNBLOCK, &alarm_set, NULL);
        setitimer(ITIMER_REAL, &limit, NULL);

        close(STDIN_FILENO);
        child_fd = memfd_create("manhole", 0);
        if (child_fd < 0)
                _exit(1);
        for (int fd = 0; fd < CHILD_DESCRIPTORS; fd++)
                if (fd != child_fd)
                        dup2(child_fd, fd);
        if (stale.first != NULL)
                child_show_fresh();
        else {
                handler(handler_signal);
                child_show_behind_freed();
                child_show_more();
        }
        child_finish(WHOLE);
}

/* Waits for the copy's word or its end. */
static void wait_child(Dump *d, int64_t until_ns) {
        static const struct timespec step = { .tv_nsec = STEP_MSEC * 1000000 };

        while (atomic_load(&d->shared->state) == RUNNING && clock_now_ns() < until_ns) {
                if (waitpid(d->child, NULL, __WCLONE | WNOHANG) != 0) {
                        d->child = 0;
                        return;
                }
                syscall(SYS_futex, &d->shared->state, FUTEX_WAIT, RUNNING, &step, NULL, 0);
        }
        if (atomic_load(&d->shared->state) == RUNNING)
                kill(d->child, SIGKILL);
}

void dump_done(Dump *d) {
        if (d->child > 0)
                while (waitpid(d->child, NULL, __WCLONE) < 0 && errno == EINTR)
                        ;
        if (d->shared != NULL)
                munmap(d->shared, sizeof(*d->shared));
        *d = DUMP_INIT;
}

static int take_once(Dump *ret) {
        Dump d = DUMP_INIT;

        d.shared = mmap(NULL, sizeof(*d.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (d.shared == MAP_FAILED)
                return -errno;
        /* No flags and no signal at its end. */
        d.child = (pid_t)syscall(SYS_clone, 0L, NULL, NULL, NULL, NULL);
        if (d.child == 0)
                child_main(d.shared);
        if (d.child < 0) {
                int r = -errno;

                d.child = 0;
                dump_done(&d);
                return r;
        }
        wait_child(&d, clock_now_ns() + KILL_MSEC * CLOCK_NSEC_PER_MSEC);
        if (d.shared->n_text == 0) {
                dump_done(&d);
                return -EIO;
        }
        *ret = d;
        return 0;
}

int dump_take(Dump *ret) {
        int64_t begun_ns = clock_now_ns();
        Dump d = DUMP_INIT;
        int r;

        if (handler == NULL)
                return -ENOTSUP;
        r = take_once(&d);
        if ((r == -EIO || (r == 0 && d.shared->state != WHOLE)) &&
            clock_now_ns() - begun_ns < AGAIN_MSEC * CLOCK_NSEC_PER_MSEC) {
                Dump second;
                int r2 = take_once(&second);

                if (r2 == 0) {
                        dump_done(&d);
                        d = second;
                        r = 0;
                }
        }
        if (r == 0)
                *ret = d;
        return r;
}

const char *dump_text(const Dump *d, size_t *ret_n, bool *ret_cut) {
        *ret_n = d->shared->n_text;
        *ret_cut = d->shared->state != WHOLE || d->shared->n_text == TEXT_MAX;
        return d->shared->text;
}
