/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * What a session's thread is at: it runs code, or it waits; and who takes an interrupt. No Python API.
 *
 * An interrupt is a flag that exactly one of three takes: who waits for input or room, who is about
 * to run code, or the errand that raises KeyboardInterrupt in running code (interrupt.h). Of code that
 * takes no notice the errand takes the session over: its thread is the console thread from then on.
 */

#include <stdbool.h>
#include <stdint.h>

#include "agent/session.h"

/*
 * The console thread waits like this: turn_begin_wait() with the GIL, one wait without it (here, in
 * input.h, in output.h), turn_end_wait() with it again. The last returns 0 or SESSION_E_INTERRUPTED.
 */
void turn_begin_wait(Session *s);
int turn_end_wait(Session *s);

/* User code begins. GIL held. 0 or SESSION_E_INTERRUPTED (then it must not). */
int turn_begin_code(Session *s);
/* As turn_begin_code(), for what belongs to code that has run (its exception's text): an earlier
 * interrupt is left for whoever comes next. 0 or SESSION_E_LOST (nobody wants to know). */
int turn_resume_code(Session *s);
/* User code is over. GIL held. */
void turn_end_code(Session *s);

/* The errand's question, GIL held: is there code to interrupt? Then the flag is taken, and the errand
 * goes on with turn_wait_notice(). Else it is over. */
bool turn_take_interrupt(Session *s, unsigned long *ret_thread_id, uint64_t *ret_turn);
/* Waits until the code of that turn has noticed: then 0, and the errand is over. GIL not held.
 * SESSION_E_INTERRUPTED: the client asks again; -ETIMEDOUT. */
int turn_wait_notice(Session *s, uint64_t turn, int64_t until_ns);
/* The calling thread, which is the errand's, is the console thread from now on, if the code of that turn
 * still runs. The errand is over either way. GIL held. */
bool turn_take_over(Session *s, uint64_t turn, unsigned long thread_id);

/* None could be sent, or none is needed: the next interrupt tries again. Any thread. */
void turn_errand_failed(Session *s);

/* GIL not held. Waits until the flag is set. 0, SESSION_E_INTERRUPTED, SESSION_E_LOST. */
int turn_wait_flag(Session *s, const bool *flag);
/* Sets it. Any thread. */
void turn_raise_flag(Session *s, bool *flag);

/* The client asks to interrupt: discards what it typed. True if an errand must be sent. Who reads from it. */
bool turn_interrupt(Session *s);

/* The client is gone: as turn_interrupt(), and nothing is read or sent any more. I/O thread. */
bool turn_lose(Session *s);
