/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Keeps `threading` right about which thread is the main one.
 *
 * Up to 3.12 the module takes the thread that imports it first for the main thread, and since then it
 * still takes that one's native id. An application that never imports it should not have to because it
 * has a console some day; so it is imported by the first thread of ours that comes to the GIL, before
 * any code of a user runs in it, and is told at once who the main thread is. Where the application has
 * imported it nothing is done.
 */

/* At the first installation. Where the caller may not be the main thread the import is done now. GIL held;
 * leaves no exception. */
void mainthread_setup(void);

/* To be called by each thread of ours before it runs anybody's Python code, and after: the library may have
 * been out of reach before. GIL held; keeps the exception state. */
void mainthread_settle(void);

/* Child after fork, in the C handler: who forks is the main thread. */
void mainthread_fork_child(void);
