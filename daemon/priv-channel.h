/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* Fixed-size messages with descriptors over a SOCK_SEQPACKET socket (unix(7), SCM_RIGHTS). */

#include <stddef.h>

/* Sends one message. The descriptors are borrowed. 0 or negative errno (-EAGAIN when full). */
int priv_channel_send(int channel, const void *message, size_t n, const int *fds, unsigned n_fds);

/*
 * Receives one message of exactly @n bytes and at most @max_fds descriptors, close-on-exec, which
 * the caller then owns; absent ones are -1. Messages of another size, with more descriptors or
 * truncated, are -EBADMSG and leave no descriptor behind; -EMFILE means that the message came, but
 * not its descriptors, for want of free ones. -ECONNRESET at end of file. @ret_n_fds
 * may be NULL.
 */
int priv_channel_receive(int channel, void *ret_message, size_t n, int *ret_fds, unsigned max_fds,
                         unsigned *ret_n_fds);
