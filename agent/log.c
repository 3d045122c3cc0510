/* SPDX-License-Identifier: BSD-2-Clause */
#include <Python.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/log.h"
#include "agent/thread.h"

/* Lines that wait for the GIL at most; later ones are lost. */
#define LOG_PENDING_MAX 1000U
#define LOG_LINE_MAX 1024U

typedef struct LogLine {
        struct LogLine *next;
        char text[];
} LogLine;

static struct {
        pthread_mutex_t lock; /* leaf: nothing is called under it */
        bool enabled;
        int fd;
        PyObject *object; /* owned; changed and used with the GIL held */
        bool to_object;
        LogLine *head, *tail;
        unsigned n_pending;
        bool errand;
} log_state = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = STDERR_FILENO };

void log_configure(bool enabled, int fd, void *object) {
        PyObject *old = log_state.object;

        Py_XINCREF((PyObject *)object);
        pthread_mutex_lock(&log_state.lock);
        log_state.enabled = enabled;
        log_state.fd = fd;
        log_state.object = object;
        log_state.to_object = object != NULL;
        pthread_mutex_unlock(&log_state.lock);

        Py_XDECREF(old);
}

static void write_fd(int fd, const char *text, size_t n) {
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        ssize_t written;

        /* A pipe that polls writable has room for a line: the write cannot block. One without a reader
         * polls writable and broken, and SIGPIPE is not ours to cause. */
        if (poll(&p, 1, 0) == 1 && p.revents == POLLOUT) {
                do
                        written = write(fd, text, n);
                while (written < 0 && errno == EINTR);
        }
}

void log_flush(void) {
        PyObject *type, *value, *traceback;

        PyErr_Fetch(&type, &value, &traceback);
        for (;;) {
                PyObject *object, *result;
                LogLine *line;

                pthread_mutex_lock(&log_state.lock);
                line = log_state.head;
                if (line != NULL) {
                        log_state.head = line->next;
                        if (log_state.head == NULL)
                                log_state.tail = NULL;
                        log_state.n_pending--;
                } else
                        log_state.errand = false;
                pthread_mutex_unlock(&log_state.lock);
                if (line == NULL)
                        break;

                object = log_state.object;
                if (object != NULL) {
                        Py_INCREF(object);
                        result = PyObject_CallMethod(object, "write", "s", line->text);
                        Py_XDECREF(result);
                        result = result == NULL ? NULL : PyObject_CallMethod(object, "flush", NULL);
                        Py_XDECREF(result);
                        PyErr_Clear();
                        Py_DECREF(object);
                }
                free(line);
        }
        PyErr_Restore(type, value, traceback);
}

static void flush_errand(void *arg) {
        log_flush();
}

static void queue_line(const char *text, size_t n) {
        LogLine *line = malloc(sizeof(*line) + n + 1);
        bool start = false;

        if (line == NULL)
                return;
        line->next = NULL;
        memcpy(line->text, text, n);
        line->text[n] = '\0';

        pthread_mutex_lock(&log_state.lock);
        if (log_state.n_pending >= LOG_PENDING_MAX) {
                free(line);
        } else {
                if (log_state.tail != NULL)
                        log_state.tail->next = line;
                else
                        log_state.head = line;
                log_state.tail = line;
                log_state.n_pending++;
                start = !log_state.errand;
                log_state.errand = true;
        }
        pthread_mutex_unlock(&log_state.lock);

        if (start && thread_errand(flush_errand, NULL) < 0) {
                pthread_mutex_lock(&log_state.lock);
                log_state.errand = false;
                pthread_mutex_unlock(&log_state.lock);
        }
}

void log_line(const char *format, ...) {
        char text[LOG_LINE_MAX];
        bool enabled, to_object;
        struct timespec now;
        va_list arguments;
        size_t n, kept = 0;
        int fd;

        pthread_mutex_lock(&log_state.lock);
        enabled = log_state.enabled;
        to_object = log_state.to_object;
        fd = log_state.fd;
        pthread_mutex_unlock(&log_state.lock);
        if (!enabled)
                return;

        /* Not %.4f: an application's locale may print a comma. */
        clock_gettime(CLOCK_REALTIME, &now);
        n = (size_t)snprintf(text, sizeof(text), "Manhole[%ld:%lld.%04ld]: ", (long)getpid(),
                             (long long)now.tv_sec, now.tv_nsec / 100000);
        va_start(arguments, format);
        vsnprintf(text + n, sizeof(text) - n - 1, format, arguments);
        va_end(arguments);

        n = strlen(text);
        for (size_t i = 0; i < n; i++)
                if ((text[i] & 0x80) == 0)
                        text[kept++] = text[i];
        text[kept++] = '\n';

        if (to_object)
                queue_line(text, kept);
        else
                write_fd(fd, text, kept);
}

void log_raised(const char *what) {
        PyObject *type, *value, *traceback, *name = NULL, *text = NULL, *bytes = NULL;

        PyErr_Fetch(&type, &value, &traceback);
        PyErr_NormalizeException(&type, &value, &traceback);
        if (what != NULL)
                text = PyUnicode_FromFormat("%s: %R", what, value);
        else if ((name = PyObject_GetAttrString(type, "__name__")) != NULL)
                text = PyUnicode_FromFormat("%U: %S", name, value);
        if (text != NULL)
                bytes = PyUnicode_AsEncodedString(text, "ascii", "ignore");
        if (bytes != NULL)
                log_line("%s", PyBytes_AsString(bytes));
        else
                log_line("%s: an exception that cannot be shown", what != NULL ? what : "A client");
        PyErr_Clear();
        Py_XDECREF(bytes);
        Py_XDECREF(text);
        Py_XDECREF(name);
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
}

void log_reset(void) {
        pthread_mutex_init(&log_state.lock, NULL);
        log_state.head = log_state.tail = NULL;
        log_state.n_pending = 0;
        log_state.errand = false;
}
