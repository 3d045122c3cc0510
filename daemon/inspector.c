/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/inspector.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/folder.h"
#include "daemon/log.h"
#include "daemon/socket-file.h"
#include "lib/cleanup.h"
#include "lib/container.h"

/* A list costs a look at every target, and anybody may ask for one again and again: what was seen a
 * moment ago is believed, the longer the more there are. A look costs about 20 µs. */
#define LOOKS_AT_ONCE 64U
#define LOOK_AGAIN_USEC (100U * 1000U)
#define LOOK_AGAIN_EACH_USEC 50U
/* A title and a unit change seldom, and to read them costs more than the rest of a look. */
#define READ_AGAIN_USEC (5U * 1000U * 1000U)
#define READ_AGAIN_EACH_USEC 1000U
static const struct timeval YOUNG_RETRY = { .tv_usec = 100 * 1000 };
static const struct timeval STALE_WAIT = { .tv_sec = SOCKET_FILE_STALE_AGE_SEC };

static void inspector_probe(Inspector *i, Target *t);
void inspector_settled(Inspector *i) {
        if (--i->registry->n_pending == 0)
                i->events->settled(i->userdata);
}

void inspector_release_folder(Inspector *i, Folder *f) {
        Target *t;

        if (f->kind != FOLDER_FOREIGN || f->fd < 0)
                return;
        TAILQ_FOREACH(t, &i->registry->targets, link)
                if (t->folder == f && (t->has_process || t->state == TARGET_UNKNOWN || t->call.priv ||
                                       (t->stale_timer && event_pending(t->stale_timer, EV_TIMEOUT, NULL))))
                        return;
        f->fd = fd_close(f->fd);
}

static void inspector_leave_queue(Inspector *i, Target *t) {
        if (t->queued)
                TAILQ_REMOVE(&i->queue, t, look);
        if (t->probed)
                i->n_probed--;
        t->queued = t->probed = false;
}

static void inspector_settle(Inspector *i, Target *t) {
        i->events->looked(t, i->userdata);
        t->hurried = false;
        inspector_leave_queue(i, t);
        inspector_release_folder(i, t->folder);
        if (t->pending) {
                t->pending = false;
                inspector_settled(i);
        }
        event_active(i->pump, EV_TIMEOUT, 0);
}

void inspector_forget(Inspector *i, Target *t) {
        bool settles = t->pending && i->registry->n_pending == 1;
        Folder *f = t->folder;

        inspector_leave_queue(i, t);
        i->events->gone(t, i->userdata);
        registry_remove(i->registry, t);
        target_free(t);
        inspector_release_folder(i, f);
        if (settles)
                i->events->settled(i->userdata);
        event_active(i->pump, EV_TIMEOUT, 0);
}

int inspector_open(const Target *t) {
        _cleanup_fd_ int fd = t->folder->fd < 0 ? -1 : openat(t->folder->fd, t->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;

        if (t->folder->fd < 0)
                return -EAGAIN;
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        return socket_file_same(&t->file, &st) ? TAKE_FD(fd) : -ESTALE;
}

/* Is the socket the process's own, as far as files can tell? The connection itself tells more:
 * identity.h. */
static bool owner_is_process(const Target *t) {
        uid_t owner = t->file.st_uid;

        return t->has_process &&
               (owner == 0 || owner == t->ids.ruid || owner == t->ids.euid || owner == t->ids.suid);
}

static void inspector_on_maps(PrivCall *call, int error, int fd, void *userdata);

static void inspector_on_executable(PrivCall *call, int error, int fd, void *userdata);

static void inspector_on_stale(PrivCall *call, int error, int fd, void *userdata);

static void inspector_on_timer(evutil_socket_t unused, short what, void *userdata);

static void inspector_wait(Inspector *i, Target *t, const struct timeval *delay) {
        if (!t->stale_timer) /* few ever need one */
                t->stale_timer = event_new(i->loop, -1, 0, inspector_on_timer, t);
        if (!t->stale_timer || event_add(t->stale_timer, delay) < 0)
                log_warning("%s: cannot arm a timer", t->path);
}

static uint64_t now_usec(void) {
        struct timespec ts = {};

        (void)clock_gettime(CLOCK_BOOTTIME, &ts);
        return (uint64_t)ts.tv_sec * 1000000U + (uint64_t)ts.tv_nsec / 1000U;
}

/* 0 or negative errno: then there is no file of that name any more, or nothing could be asked. */
static int inspector_ask_stale(Inspector *i, Target *t) {
        bool foreign = t->folder->kind == FOLDER_FOREIGN, remove = i->remove_stale == REMOVE_STALE_YES;
        _cleanup_fd_ int fd = inspector_open(t);
        int r;

        if (fd < 0)
                return fd;
        r = priv_stale(i->priv, &t->call, t->folder->fd, fd, t->name, foreign ? (t->pid ?: -1) : 0,
                       foreign ? t->start_time : 0, remove, inspector_on_stale, i);
        if (r < 0) /* for want of descriptors */
                inspector_wait(i, t, &STALE_WAIT);
        t->removing = r == 0 && remove;
        return 0;
}

/* A process that lives may serve it again; only files of the dead are removed. */
static void inspector_treat_stale(Inspector *i, Target *t) {
        if (t->has_process || i->remove_stale == REMOVE_STALE_NO ||
            (i->remove_stale == REMOVE_STALE_REPORT && t->stale_told))
                return;
        if (t->folder->kind == FOLDER_FOREIGN) /* while it is open */
                (void)inspector_ask_stale(i, t);
        else
                inspector_wait(i, t, &YOUNG_RETRY);
}

void inspector_set_remove_stale(Inspector *i, RemoveStale remove_stale) {
        Target *t;

        if (i->remove_stale == remove_stale)
                return;
        i->remove_stale = remove_stale;
        TAILQ_FOREACH(t, &i->registry->targets, link)
                if (t->state == TARGET_STALE)
                        inspector_treat_stale(i, t);
}

static void inspector_found_dead(Inspector *i, Target *t) {
        /* Nobody can show any more that the file is its own. */
        if (t->doubtful)
                target_forget_process(t);
        if (socket_file_is_young(&t->file)) {
                t->state = TARGET_UNKNOWN;
                inspector_wait(i, t, &YOUNG_RETRY);
        } else {
                t->state = TARGET_STALE;
                inspector_treat_stale(i, t);
        }
        inspector_settle(i, t);
}

static void inspector_keep_pace(Target *t) {
        if (t->hurried)
                priv_call_hasten(&t->call);
}

void inspector_hasten(Target *t) {
        Inspector *i = t->inspector;

        t->hurried = t->pending;
        inspector_keep_pace(t);
        if (t->queued) {
                TAILQ_REMOVE(&i->queue, t, look);
                TAILQ_INSERT_HEAD(&i->queue, t, look);
        }
}

/* The last that is asked about a target. */
static void inspector_ask_executable(Inspector *i, Target *t) {
        if (t->has_process && !t->executable &&
            priv_open_executable(i->priv, &t->call, t->pid, t->start_time, inspector_on_executable, i) == 0) {
                inspector_keep_pace(t);
                return;
        }
        inspector_settle(i, t);
}

static void inspector_found_live(Inspector *i, Target *t) {
        if (owner_is_process(t) && !t->impostor)
                t->state = TARGET_LIVE;
        else /* bound to the same file since the process lived, which we saw */
                t->state = !t->has_process && t->was_live && !t->impostor ? TARGET_ORPHANED : TARGET_UNTRUSTED;
        t->was_live |= t->state == TARGET_LIVE;
        /* A process that is just dying: its socket goes a moment after it. */
        if (!t->has_process && socket_file_is_young(&t->file))
                inspector_wait(i, t, &YOUNG_RETRY);
        if (t->has_process && !t->python_known &&
            priv_open_maps(i->priv, &t->call, t->pid, t->start_time, inspector_on_maps, i) == 0) {
                inspector_keep_pace(t);
                return;
        }
        inspector_ask_executable(i, t);
}

static void inspector_on_probed(PrivCall *call, int error, int fd, void *userdata) {
        Inspector *i = userdata;
        Target *t = container_of(call, Target, call);

        switch (error) {
        case 0:
                inspector_found_live(i, t);
                break;
        case -ECONNREFUSED:
                inspector_found_dead(i, t);
                break;
        case -EPROTOTYPE: /* a datagram socket: no manhole */
        case -ENOENT:
                inspector_forget(i, t);
                break;
        default:
                log_debug("%s: cannot be probed: %s", t->path, strerror(-error));
                inspector_settle(i, t);
        }
}

static void inspector_on_maps(PrivCall *call, int error, int fd, void *userdata) {
        Inspector *i = userdata;
        Target *t = container_of(call, Target, call);

        if (error == 0 && proc_read_python(fd, &t->python) == 0)
                t->python_known = true;
        (void)fd_close(fd);
        inspector_ask_executable(i, t);
}

static void inspector_on_executable(PrivCall *call, int error, int fd, void *userdata) {
        Inspector *i = userdata;
        Target *t = container_of(call, Target, call);

        if (error == 0)
                (void)proc_read_executable(fd, &t->executable);
        (void)fd_close(fd);
        inspector_settle(i, t);
}

static void inspector_probe(Inspector *i, Target *t) {
        _cleanup_fd_ int fd = inspector_open(t);

        if (fd == -EAGAIN)
                return; /* the next sweep sees to it */
        if (fd < 0) {
                inspector_forget(i, t); /* the scanner finds what has taken its place */
                return;
        }
        if (t->call.priv)
                return; /* a look is under way */
        if (priv_probe(i->priv, &t->call, fd, inspector_on_probed, i) < 0)
                inspector_settle(i, t);
        else
                inspector_keep_pace(t);
}

/* Begins as many looks as there may be at once: from the loop, since a target may turn out to be gone. */
static void inspector_on_pump(evutil_socket_t unused, short what, void *userdata) {
        Inspector *i = userdata;
        Target *t;

        while (i->n_probed < LOOKS_AT_ONCE && (t = TAILQ_FIRST(&i->queue))) {
                TAILQ_REMOVE(&i->queue, t, look);
                t->queued = false;
                t->probed = true;
                i->n_probed++;
                if (t->folder->fd >= 0)
                        inspector_probe(i, t);
                else
                        inspector_settle(i, t);
        }
}

int inspector_init(Inspector *i) {
        TAILQ_INIT(&i->queue);
        i->pump = event_new(i->loop, -1, 0, inspector_on_pump, i);
        return i->pump ? 0 : -ENOMEM;
}

void inspector_done(Inspector *i) {
        if (i->pump)
                event_free(i->pump);
}

static void inspector_on_stale(PrivCall *call, int error, int fd, void *userdata) {
        Inspector *i = userdata;
        Target *t = container_of(call, Target, call);
        bool removed = t->removing;

        t->removing = false;
        switch (error) {
        case 0:
                t->stale_told = true;
                i->events->stale(t, removed, i->userdata);
                if (removed)
                        inspector_forget(i, t);
                else
                        inspector_settle(i, t);
                break;
        case -EAGAIN:
                inspector_wait(i, t, &STALE_WAIT);
                inspector_settle(i, t);
                break;
        case -EBUSY: /* alive after all */
                inspector_probe(i, t);
                break;
        case -ENOENT:
                inspector_forget(i, t);
                break;
        default:
                log_warning("%s: stale, but cannot be seen to: %s", t->path, strerror(-error));
                inspector_settle(i, t);
        }
}

static void inspector_on_timer(evutil_socket_t unused, short what, void *userdata) {
        Target *t = userdata;
        Inspector *i = t->inspector;
        int r;

        if (t->call.priv) {
                inspector_wait(i, t, &YOUNG_RETRY);
                return;
        }
        if (t->state != TARGET_STALE) {
                inspector_probe(i, t);
                return;
        }
        if (i->remove_stale == REMOVE_STALE_NO)
                return;
        r = inspector_ask_stale(i, t);
        if (r < 0 && r != -EAGAIN)
                inspector_forget(i, t);
}

static void inspector_on_process_end(evutil_socket_t fd, short what, void *userdata) {
        Target *t = userdata;

        t->has_process = false;
        if (t->call.priv) /* a look that began while it lived tells nothing any more */
                inspector_wait(t->inspector, t, &YOUNG_RETRY);
        else
                inspector_probe(t->inspector, t);
}

/* From here on the process is held by its pidfd: a pid used again does not fool us. */
static void inspector_follow_process(Inspector *i, Target *t) {
        ProcStat stat;

        t->pidfd = proc_pidfd(t->pid);
        if (t->pidfd < 0 || proc_read_stat(t->pid, &stat) < 0 || stat.start_time != t->start_time) {
                t->has_process = false;
                return;
        }
        t->process_end = event_new(i->loop, t->pidfd, EV_READ, inspector_on_process_end, t);
        if (!t->process_end || event_add(t->process_end, NULL) < 0)
                log_warning("%s: the end of process %d will not be noticed", t->path, (int)t->pid);
        (void)names_get(i->names, t->ids.euid);
}

/* Until inspector_settle(), calls that ask for this target wait. */
static void inspector_unsettle(Inspector *i, Target *t) {
        t->pending = true;
        i->registry->n_pending++;
}

static void inspector_look(Inspector *i, Target *t) {
        t->looked_at = now_usec();
        inspector_unsettle(i, t);
        /* One that could not be followed before, for want of descriptors, has no pidfd. */
        if (t->pidfd < 0 || (t->has_process && t->looked_at - t->read_at >= READ_AGAIN_USEC +
                                     (uint64_t)READ_AGAIN_EACH_USEC * i->registry->n_targets)) {
                target_read_process(t);
                t->read_at = t->looked_at;
        } else
                target_refresh_ids(t);
        if (t->has_process && t->pidfd < 0)
                inspector_follow_process(i, t);
        TAILQ_INSERT_TAIL(&i->queue, t, look);
        t->queued = true;
        event_active(i->pump, EV_TIMEOUT, 0);
}

void inspector_begin(Inspector *i, Target *t) {
        t->inspector = i;
        inspector_look(i, t);
}

void inspector_look_again(Inspector *i, Target *t) {
        if (t->pending || t->removing)
                return;
        if (t->call.priv) /* a timer's look is under way */
                inspector_unsettle(i, t);
        else if (t->state == TARGET_UNKNOWN ||
                 now_usec() - t->looked_at >= LOOK_AGAIN_USEC + (uint64_t)LOOK_AGAIN_EACH_USEC * i->registry->n_targets)
                inspector_look(i, t);
}
