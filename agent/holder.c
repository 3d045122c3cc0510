/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/holder.h"

#include <Python.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

/* How far into the interpreter's structures it is looked for: it has been within 8 KB. */
#define SCAN_SIZE (16U * 1024U)
/* At a time: a page of stack that nobody has used yet takes longer to get than to copy. */
#define PIECE_SIZE 1024U
#define THREAD_STATE_SIZE 512U

/* How CPython's begins. What follows are a number, and conditions and mutexes to wait for. */
typedef struct Gil {
        unsigned long interval; /* in microseconds, as sys.getswitchinterval() has it */
        uintptr_t last_holder;  /* a thread state */
        int locked;
} Gil;
#define GIL_SIZE \
        (sizeof(Gil) + sizeof(unsigned long) + 2 * (sizeof(pthread_cond_t) + sizeof(pthread_mutex_t)))

static struct {
        uintptr_t gil;        /* 0: not known */
        size_t thread_offset; /* of the thread's id in a thread state */
} holder;

/* The offset in a thread state of its thread's id; 0: not found. */
static size_t find_thread_id(uintptr_t state) {
        unsigned long words[THREAD_STATE_SIZE / sizeof(unsigned long)];
        size_t n = task_peek(state, words, sizeof(words)) / sizeof(words[0]);

        for (size_t i = 1; i < n; i++)
                if (words[i] == PyThread_get_thread_ident())
                        return i * sizeof(words[0]);
        return 0;
}

/* What is ours now: the interval, our own thread state, locked. */
static uintptr_t find_gil(uintptr_t begin, unsigned long interval, uintptr_t state) {
        unsigned long words[(PIECE_SIZE + sizeof(Gil)) / sizeof(unsigned long)];
        uintptr_t end = begin != 0 ? begin + SCAN_SIZE : 0;

        for (; begin < end; begin += PIECE_SIZE) {
                size_t n = task_peek(begin, words, sizeof(words)) / sizeof(words[0]);

                for (size_t i = 0; i + sizeof(Gil) / sizeof(words[0]) <= n; i++) {
                        Gil gil;

                        memcpy(&gil, &words[i], sizeof(gil));
                        if (gil.interval == interval && gil.last_holder == state && gil.locked == 1)
                                return begin + i * sizeof(words[0]);
                }
        }
        return 0;
}

static unsigned long switch_interval(void) {
        PyObject *get = PySys_GetObject("getswitchinterval"), *value = NULL; /* borrowed */
        double seconds = 0;

        if (get != NULL)
                value = PyObject_CallObject(get, NULL);
        if (value != NULL)
                seconds = PyFloat_AsDouble(value);
        PyErr_Clear();
        Py_XDECREF(value);
        return (unsigned long)(seconds * 1e6 + 0.5);
}

void holder_setup(void) {
        void *(*main_interpreter)(void) = (void *(*)(void))dlsym(RTLD_DEFAULT, "PyInterpreterState_Main");
        uintptr_t state = (uintptr_t)PyThreadState_Get(),
                  runtime = (uintptr_t)dlsym(RTLD_DEFAULT, "_PyRuntime"),
                  interpreter = main_interpreter != NULL ? (uintptr_t)main_interpreter() : 0;
        unsigned long interval = switch_interval();

        if (holder.gil != 0)
                return;
        holder.thread_offset = find_thread_id(state);
        if (holder.thread_offset == 0)
                return;
        /* Up to 3.11 it is of the runtime, since 3.12 of the interpreter. */
        holder.gil = find_gil(runtime, interval, state);
        if (holder.gil == 0)
                holder.gil = find_gil(interpreter, interval, state);
}

uintptr_t holder_thread_id(void) {
        unsigned long id;
        Gil gil;

        if (holder.gil == 0 || task_peek(holder.gil, &gil, sizeof(gil)) != sizeof(gil) || gil.locked != 1 ||
            gil.last_holder == 0)
                return 0;
        /* It may have ended meanwhile. */
        if (task_peek(gil.last_holder + holder.thread_offset, &id, sizeof(id)) != sizeof(id))
                return 0;
        return id;
}

void holder_mark(Task *tasks, size_t n_tasks) {
        uintptr_t id = holder_thread_id();

        for (size_t i = 0; i < n_tasks; i++) {
                Task *t = &tasks[i];

                if (id != 0 && t->thread_id == id)
                        t->gil = TASK_HAS_GIL;
                else if (holder.gil != 0 && t->futex >= holder.gil && t->futex < holder.gil + GIL_SIZE)
                        t->gil = TASK_WAITS_FOR_GIL;
        }
}
