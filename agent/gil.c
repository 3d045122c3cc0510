/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/gil.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "agent/mainthread.h"

static struct {
        PyInterpreterState *interpreter; /* the main one, as for PyGILState_Ensure() */
        /* Leaf: under it only a thread state is made or deleted, which never waits for the GIL. */
        pthread_mutex_t lock;
        pthread_cond_t changed;
        unsigned n_on_their_way;
        bool closed;
        bool fork_waits;
} gil = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* In no stable ABI, but exported: by 3.7 and later the main one itself, by 3.6 the list that it is the
 * oldest of. PyInterpreterState_Get() is in the stable ABI of 3.9. */
PyInterpreterState *gil_main_interpreter(void) {
        typedef PyInterpreterState *First(void), *Next(PyInterpreterState *);
        First *first = (First *)dlsym(RTLD_DEFAULT, "PyInterpreterState_Main");
        Next *next = (Next *)dlsym(RTLD_DEFAULT, "PyInterpreterState_Next");
        PyInterpreterState *oldest;

        if (first != NULL)
                return first();
        first = (First *)dlsym(RTLD_DEFAULT, "PyInterpreterState_Head");
        if (first == NULL || next == NULL)
                return NULL;
        oldest = first();
        for (PyInterpreterState *i = oldest; i != NULL; i = next(i))
                oldest = i;
        return oldest;
}

/* Whether a child of os.fork() may find the runtime's lock as another thread held it. From 3.12 on it
 * makes it anew first, and from 3.13 on os.fork() holds it itself: waiting here for a thread that wants
 * it would be waiting for ever. */
static bool runtime_lock_is_forked(void) {
        const char *version = Py_GetVersion();

        return strncmp(version, "3.", 2) == 0 && strtol(version + 2, NULL, 10) < 12;
}

/* 3.6 has no GIL before somebody asks for one. Since 3.7 this does nothing, and since 3.9 the headers
 * warn of it. */
static void make_gil(void) {
        void (*init)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, "PyEval_InitThreads");

        if (init != NULL)
                init();
}

int gil_setup(void) {
        gil.interpreter = gil_main_interpreter();
        if (gil.interpreter == NULL) {
                PyErr_SetString(PyExc_RuntimeError, "this interpreter does not say which is its main one");
                return -1;
        }
        gil.fork_waits = runtime_lock_is_forked();
        make_gil();
        return 0;
}

bool gil_take(PyThreadState **ret) {
        PyThreadState *state = NULL;

        pthread_mutex_lock(&gil.lock);
        if (!gil.closed)
                state = PyThreadState_New(gil.interpreter);
        if (state != NULL)
                gil.n_on_their_way++;
        pthread_mutex_unlock(&gil.lock);
        if (state == NULL)
                return false;

        PyEval_RestoreThread(state);

        pthread_mutex_lock(&gil.lock);
        gil.n_on_their_way--;
        pthread_cond_broadcast(&gil.changed);
        pthread_mutex_unlock(&gil.lock);
        mainthread_settle();
        *ret = state;
        return true;
}

void gil_give(PyThreadState *state) {
        PyThreadState_Clear(state);
        (void)PyEval_SaveThread();

        pthread_mutex_lock(&gil.lock);
        PyThreadState_Delete(state);
        pthread_mutex_unlock(&gil.lock);
}

void gil_close(void) {
        pthread_mutex_lock(&gil.lock);
        gil.closed = true;
        while (gil.n_on_their_way > 0)
                pthread_cond_wait(&gil.changed, &gil.lock);
        pthread_mutex_unlock(&gil.lock);
}

void gil_fork_prepare(void) {
        if (gil.fork_waits)
                pthread_mutex_lock(&gil.lock);
}

void gil_fork_parent(void) {
        if (gil.fork_waits)
                pthread_mutex_unlock(&gil.lock);
}

void gil_fork_child(void) {
        pthread_mutex_init(&gil.lock, NULL);
        pthread_cond_init(&gil.changed, NULL);
        gil.n_on_their_way = 0;
        gil.closed = false;
}
