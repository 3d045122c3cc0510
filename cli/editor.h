/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The line being edited at the bottom of the terminal, and the output above it.
 *
 * GNU readline's callback interface, so that output can arrive while a line is edited: the line is
 * taken away, the output printed, the line drawn again below. Output that does not end in a line
 * end stands in front of the prompt, as it would without an editor.
 *
 * readline has one state for the whole program, and so there is one editor.
 */

#include <stdbool.h>
#include <stddef.h>

/* @line: a line without its end; NULL for end of input (Ctrl-D). The editor is not active then. */
typedef void (*EditorHandler)(void *userdata, const char *line);

/* A tab was typed behind @text, the line up to the cursor: editor_complete() may answer. */
typedef void (*EditorCompleter)(void *userdata, const char *text, size_t n);

/* @completer may be NULL: then a tab indents, as it does at the beginning of a line. */
void editor_open(EditorHandler handler, EditorCompleter completer, void *userdata);
void editor_close(void);

/* Begins to edit a line behind @prompt, or changes the prompt of the one that is being edited. */
void editor_prompt(const char *prompt, size_t n);

/* While a line is edited, standard input is the editor's: call editor_read() when it is readable. */
bool editor_active(void);
void editor_read(void);

/*
 * Goes on with the line as far as all @names agree, or shows them. Each begins with the @n_begun bytes
 * before the cursor. Nothing happens if the line up to the cursor is not the one that was asked about.
 */
void editor_complete(const char *const *names, size_t n_names, size_t n_begun);

/* Foreign bytes; they are made safe for the terminal here. */
void editor_print(const void *data, size_t n);

/* Gives up the line being edited, as Ctrl-C does, and begins an empty one. */
void editor_clear(void);

/* The terminal has another size. */
void editor_resize(void);

/* Around a time in which the terminal is somebody else's. */
void editor_suspend(void);
void editor_resume(void);
