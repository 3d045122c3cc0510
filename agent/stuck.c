/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent/stuck.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/holder.h"
#include "agent/source.h"

#define TEXT_END "\n#############################################\n\n\n"
#define LIMIT_DEFAULT (UINT64_C(8) << 30)
/* Where reading source files takes longer, the rest of the stacks goes without. */
#define SOURCE_MSEC 50

#define BLOCKS_MAX 4096U
/* Lines of one thread: faulthandler's own limit, and a little room. */
#define LINES_MAX 128U

typedef struct Block {
        uintptr_t thread_id;
        const char *begin, *end; /* borrowed: the lines below the header */
} Block;

/*
 * Copies take turns, and who had to wait for one takes what it brought: of many clients at once, each
 * would otherwise add the time that one costs.
 */
static struct {
        pthread_mutex_t lock;
        atomic_uint n_waiting;
        Stuck last; /* while somebody waits */
        int64_t last_begun_ns;
        bool last_always;
} turn = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t limit = LIMIT_DEFAULT;

/* "512M", "8G", "0": bytes, or K, M, G. False when it is none of these. */
static bool parse_size(const char *text, uint64_t *ret) {
        static const char units[] = "KMG";
        const char *unit;
        char *end;
        uint64_t n;

        errno = 0;
        n = strtoull(text, &end, 10);
        if (end == text || errno != 0 || text[0] == '-')
                return false;
        unit = *end != '\0' ? strchr(units, *end) : NULL;
        if (*end != '\0' && (unit == NULL || end[1] != '\0'))
                return false;
        if (unit != NULL)
                for (const char *u = units; u <= unit; u++)
                        if (__builtin_mul_overflow(n, 1024, &n))
                                return false;
        *ret = n;
        return true;
}

void stuck_setup(void) {
        const char *value = getenv("MANHOLE_DUMP_LIMIT");

        if (value == NULL || !parse_size(value, &limit))
                limit = LIMIT_DEFAULT;
        dump_setup();
        holder_setup();
}

void stuck_fork_child(void) {
        pthread_mutex_init(&turn.lock, NULL);
        atomic_store(&turn.n_waiting, 0);
        turn.last = STUCK_INIT; /* its memory may be in any state */
        dump_fork_child();
}

/* Resident memory in bytes; 0 where there is no /proc. */
static uint64_t resident(void) {
        FILE *file = fopen("/proc/self/statm", "re");
        unsigned long long total, pages = 0;

        if (file == NULL)
                return 0;
        if (fscanf(file, "%llu %llu", &total, &pages) != 2)
                pages = 0;
        fclose(file);
        return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static const char *line_end(const char *p, const char *end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));

        return newline != NULL ? newline : end;
}

/* Splits faulthandler's text at its headers, `Thread 0x… (most recent call first):`. */
static size_t find_blocks(const char *p, const char *end, Block *blocks, bool *ret_more) {
        size_t n = 0;

        *ret_more = false;
        while (p < end) {
                const char *eol = line_end(p, end), *next = eol < end ? eol + 1 : end;
                const char *hex = memmem(p, (size_t)(eol - p), "hread 0x", strlen("hread 0x"));

                if (hex != NULL && *p != ' ' && n < BLOCKS_MAX) {
                        char digits[17] = {};
                        size_t n_digits;

                        hex += strlen("hread 0x");
                        n_digits = (size_t)(eol - hex);
                        memcpy(digits, hex, n_digits < 16 ? n_digits : 16);
                        *ret_more = false;
                        blocks[n++] = (Block){
                                .thread_id = (uintptr_t)strtoull(digits, NULL, 16),
                                .begin = next,
                                .end = next,
                        };
                } else if (eol - p == 3 && memcmp(p, "...", 3) == 0)
                        *ret_more = true; /* there are more threads than faulthandler shows */
                else if (n > 0 && eol > p)
                        blocks[n - 1].end = next;
                p = next;
        }
        return n;
}

/* `  File "NAME", line N in FUNCTION` in the words of a dump with the GIL, with the line itself. Any
 * other line as it is. */
static void write_line(FILE *out, SourceCache *sources, const char *p, const char *end) {
        static const char begin[] = "  File \"", middle[] = "\", line ", in[] = " in ";
        const char *name, *name_end = NULL, *number = NULL, *function = NULL, *line;
        size_t n;

        if ((size_t)(end - p) > sizeof(begin) && memcmp(p, begin, sizeof(begin) - 1) == 0)
                for (const char *q = p;
                     (q = memmem(q, (size_t)(end - q), middle, sizeof(middle) - 1)) != NULL; q++)
                        name_end = q;
        if (name_end != NULL) {
                number = name_end + sizeof(middle) - 1;
                function = memmem(number, (size_t)(end - number), in, sizeof(in) - 1);
        }
        if (function == NULL) {
                fprintf(out, "%.*s\n", (int)(end - p), p);
                return;
        }
        name = p + sizeof(begin) - 1;
        fprintf(out, "File: \"%.*s\", line %.*s,%.*s\n", (int)(name_end - name), name,
                (int)(function - number), number, (int)(end - function), function);
        if (source_line(sources, name, (size_t)(name_end - name), strtol(number, NULL, 10), &line, &n))
                fprintf(out, "  %.*s\n", (int)n, line);
}

/* Oldest call first, as everywhere else. */
static void write_block(FILE *out, SourceCache *sources, const Block *b) {
        const char *lines[LINES_MAX];
        size_t n = 0;

        for (const char *p = b->begin; p < b->end && n < LINES_MAX; p = line_end(p, b->end) + 1)
                lines[n++] = p;
        while (n-- > 0)
                write_line(out, sources, lines[n], line_end(lines[n], b->end));
}

static void write_task(FILE *out, const Task *t) {
        char name[TASK_DESCRIPTION_MAX], description[TASK_DESCRIPTION_MAX];

        task_quote(t, name, sizeof(name));
        task_describe(t, description, sizeof(description));
        fprintf(out, "Thread %ld %s: %s\n", (long)t->id, name, description);
}

static void write_stacks(FILE *out, Stuck *s) {
        Block *blocks = malloc(BLOCKS_MAX * sizeof(*blocks));
        uintptr_t ids[BLOCKS_MAX];
        SourceCache sources;
        const char *text;
        bool cut, more;
        size_t n;

        if (blocks == NULL)
                return;
        text = dump_text(&s->dump, &n, &cut);
        n = find_blocks(text, text + n, blocks, &more);
        for (size_t i = 0; i < n; i++)
                ids[i] = blocks[i].thread_id;
        task_identify(s->tasks, s->n_tasks, ids, n);
        holder_mark(s->tasks, s->n_tasks);

        source_init(&sources, SOURCE_MSEC);
        for (size_t i = 0; i < n; i++) {
                fprintf(out, "\n######### ProcessID=%ld, ThreadID=%ju #########\n", (long)getpid(),
                        (uintmax_t)blocks[i].thread_id);
                for (size_t j = 0; j < s->n_tasks; j++)
                        if (s->tasks[j].thread_id == blocks[i].thread_id)
                                write_task(out, &s->tasks[j]);
                write_block(out, &sources, &blocks[i]);
        }
        source_done(&sources);
        free(blocks);
        if (cut)
                fputs("\n(The dump ended early.)\n", out);
        if (more)
                fprintf(out, "\n(Python stacks of %zu threads only.)\n", n);
}

/* Where there are no stacks, nobody but the holder is identified. */
static void mark_holder(Stuck *s) {
        uintptr_t id = holder_thread_id();

        if (id != 0)
                task_identify(s->tasks, s->n_tasks, &id, 1);
        holder_mark(s->tasks, s->n_tasks);
}

static int write_report(Stuck *s, const char *remark) {
        FILE *out = open_memstream(&s->text, &s->n_text);
        bool title = false;
        int failed;

        if (out == NULL)
                return -ENOMEM;
        fprintf(out, "\n(Taken without the GIL%s)\n", remark);
        if (s->dump.shared != NULL)
                write_stacks(out, s);
        else
                mark_holder(s);
        for (size_t i = 0; i < s->n_tasks; i++)
                if (s->tasks[i].thread_id == 0 || s->dump.shared == NULL) {
                        if (!title)
                                fprintf(out, "\nThreads without a Python stack:\n");
                        title = true;
                        write_task(out, &s->tasks[i]);
                }
        fputs(TEXT_END, out);
        failed = ferror(out);
        return fclose(out) != 0 || failed ? -ENOMEM : 0;
}

/* Without the dump itself. */
static int copy(const Stuck *s, Stuck *ret) {
        Stuck c = { .n_text = s->n_text, .n_tasks = s->n_tasks };

        c.text = malloc(s->n_text + 1);
        c.tasks = malloc(s->n_tasks * sizeof(*s->tasks) + 1);
        if (c.text == NULL || c.tasks == NULL) {
                stuck_done(&c);
                return -ENOMEM;
        }
        memcpy(c.text, s->text, s->n_text + 1);
        if (s->n_tasks > 0)
                memcpy(c.tasks, s->tasks, s->n_tasks * sizeof(*s->tasks));
        *ret = c;
        return 0;
}

static int take(bool always, Stuck *ret) {
        char remark[160] = ".";
        Stuck s = STUCK_INIT;
        uint64_t size = resident();
        int r;

        if (!always && size > limit)
                snprintf(remark, sizeof(remark),
                         ", and without Python stacks: the process has %ju MB resident, more than "
                         "MANHOLE_DUMP_LIMIT.",
                         (uintmax_t)(size >> 20));
        else {
                r = dump_take(&s.dump);
                if (r < 0)
                        snprintf(remark, sizeof(remark), ", and without Python stacks: %s.",
                                 r == -ENOTSUP ? "faulthandler is not to be had" : strerror(-r));
        }
        (void)task_list(&s.tasks, &s.n_tasks); /* without /proc the stacks alone */

        r = write_report(&s, remark);
        if (r < 0) {
                stuck_done(&s);
                return r;
        }
        *ret = s;
        return 0;
}

int stuck_take(bool always, int64_t since_ns, Stuck *ret) {
        int r;

        atomic_fetch_add(&turn.n_waiting, 1);
        pthread_mutex_lock(&turn.lock);
        atomic_fetch_sub(&turn.n_waiting, 1);
        if (turn.last.text != NULL && turn.last_begun_ns >= since_ns && (turn.last_always || !always))
                r = copy(&turn.last, ret);
        else {
                int64_t begun_ns = clock_now_ns();

                r = take(always, ret);
                stuck_done(&turn.last);
                if (r == 0 && atomic_load(&turn.n_waiting) > 0 && copy(ret, &turn.last) == 0) {
                        turn.last_begun_ns = begun_ns;
                        turn.last_always = always;
                }
        }
        if (atomic_load(&turn.n_waiting) == 0)
                stuck_done(&turn.last);
        pthread_mutex_unlock(&turn.lock);
        return r;
}

void stuck_done(Stuck *s) {
        dump_done(&s->dump);
        free(s->text);
        free(s->tasks);
        *s = STUCK_INIT;
}

void stuck_identify(const char *text, size_t n, Task *tasks, size_t n_tasks) {
        static const char header[] = "\n######### ProcessID=", middle[] = ", ThreadID=";
        const char *p = text, *end = text + n;
        uintptr_t ids[BLOCKS_MAX];
        size_t n_ids = 0;

        /* Nothing else begins a line like this: source lines are indented. */
        while (n_ids < sizeof(ids) / sizeof(ids[0]) &&
               (p = memmem(p, (size_t)(end - p), header, sizeof(header) - 1)) != NULL) {
                const char *eol = line_end(++p, end),
                           *id = memmem(p, (size_t)(eol - p), middle, sizeof(middle) - 1);

                if (id != NULL)
                        ids[n_ids++] = (uintptr_t)strtoull(id + sizeof(middle) - 1, NULL, 10);
        }
        task_identify(tasks, n_tasks, ids, n_ids);
        holder_mark(tasks, n_tasks);
}
