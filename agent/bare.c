/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/bare.h"

/*
 * The flags are PyCF_DONT_IMPLY_DEDENT and, since 3.11, PyCF_ALLOW_INCOMPLETE_INPUT. Before that,
 * incomplete source is told by its error, which moves when the source gets longer.
 */
static const char source[] =
        "import sys\n"
        "FLAGS = 0x200 | (0x4000 if sys.version_info >= (3, 11) else 0)\n"
        "\n"
        "def compile_command(source, filename, symbol):\n"
        "    if all(line.strip()[:1] in ('', '#') for line in source.split('\\n')):\n"
        "        source = 'pass'\n"
        "    errors = []\n"
        "    for end in '', '\\n', '\\n\\n':\n"
        "        try:\n"
        "            code = compile(source + end, filename, symbol, FLAGS, True)\n"
        "            return None if errors else code\n"
        "        except SyntaxError as e:\n"
        "            errors.append(e)\n"
        "    one, two = map(repr, errors[1:])\n"
        "    if one != two or 'incomplete input' in one or 'was never closed' in one:\n"
        "        return None\n"
        "    raise errors[1].with_traceback(None) from None\n"
        "\n"
        "def format_one(kind, value, tb):\n"
        "    text = 'Traceback (most recent call last):\\n' if tb else ''\n"
        "    while tb:\n"
        "        code = tb.tb_frame.f_code\n"
        "        text += '  File \"%s\", line %d, in %s\\n' % (code.co_filename, tb.tb_lineno, code.co_name)\n"
        "        tb = tb.tb_next\n"
        "    module = kind.__module__\n"
        "    text += kind.__qualname__ if module == 'builtins' else '%s.%s' % (module, kind.__qualname__)\n"
        "    words = '' if value is None else str(value)\n"
        "    return text + (': ' + words if words else '') + '\\n'\n"
        "\n"
        "def format_exception(kind, value, tb):\n"
        "    text, seen = format_one(kind, value, tb), {id(value)}\n"
        "    while value is not None:\n"
        "        cause = value.__cause__\n"
        "        words = 'The above exception was the direct cause of the following exception:'\n"
        "        if cause is None and not value.__suppress_context__:\n"
        "            cause = value.__context__\n"
        "            words = 'During handling of the above exception, another exception occurred:'\n"
        "        if cause is None or id(cause) in seen:\n"
        "            break\n"
        "        seen.add(id(cause))\n"
        "        text = format_one(type(cause), cause, cause.__traceback__) + '\\n%s\\n\\n' % words + text\n"
        "        value = cause\n"
        "    return text\n";

/* New reference. Made at each need: there is none as long as the process is well. */
static PyObject *get_function(const char *name) {
        PyObject *globals = PyDict_New(), *code = NULL, *result = NULL, *function = NULL;

        if (globals != NULL && PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) == 0)
                code = Py_CompileString(source, "<manhole>", Py_file_input);
        if (code != NULL)
                result = PyEval_EvalCode(code, globals, globals);
        if (result != NULL) {
                function = PyDict_GetItemString(globals, name);
                Py_XINCREF(function);
        }
        Py_XDECREF(result);
        Py_XDECREF(code);
        Py_XDECREF(globals);
        return function;
}

PyObject *bare_compiler(void) {
        return get_function("compile_command");
}

PyObject *bare_format_exception(PyObject *type, PyObject *value, PyObject *traceback) {
        PyObject *function = get_function("format_exception"), *text = NULL;

        if (function != NULL)
                text = PyObject_CallFunctionObjArgs(function, type, value, traceback, NULL);
        Py_XDECREF(function);
        return text;
}
