/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/errors.h"

#include <string.h>

static PyObject *errors[_ERROR_MAX]; /* owned for good */

static const struct {
        const char *name, *doc;
} descriptions[_ERROR_MAX] = {
        [ERROR_ALREADY_INSTALLED] = { "manhole.AlreadyInstalled",
                                      "manhole.install() was called before, and strict is true." },
        [ERROR_NOT_INSTALLED] = { "manhole.NotInstalled", "manhole.install() was not called." },
        [ERROR_CONFIGURATION_CONFLICT] = { "manhole.ConfigurationConflict",
                                           "The options contradict each other." },
        [ERROR_SUSPICIOUS_CLIENT] = { "manhole.SuspiciousClient",
                                      "The client is neither our own user nor root." },
};

int errors_setup(PyObject *module) {
        for (size_t i = 0; i < _ERROR_MAX; i++) {
                PyObject *error =
                        PyErr_NewExceptionWithDoc(descriptions[i].name, descriptions[i].doc, NULL, NULL);

                if (error == NULL)
                        return -1;
                Py_INCREF(error);
                errors[i] = error;
                if (PyModule_AddObject(module, strrchr(descriptions[i].name, '.') + 1, error) < 0) {
                        Py_DECREF(error);
                        return -1;
                }
        }
        return 0;
}

PyObject *errors_get(Error error) {
        return errors[error];
}
