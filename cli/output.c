/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/buffer.h"
#include "cli/exit-status.h"
#include "cli/message.h"
#include "lib/cleanup.h"
#include "lib/parse.h"

#define WIDTH_MAX 10000U

static int stdout_error; /* the first errno of writing; stdio itself forgets it */

void output_init(void) {
        /* A descriptor missing here would be the next socket's number, and what is printed would go
         * to the daemon. Opened the wrong way round, its use still fails as a closed one's does. */
        for (int fd = 0; fd < 3; fd++)
                if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0)
                        _exit(EXIT_FAILED);

        (void)signal(SIGPIPE, SIG_IGN);

        if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
                (void)setlocale(LC_CTYPE, "C.UTF-8");
}

int output_finish(int status) {
        if (fflush(stdout) != 0 && stdout_error == 0)
                stdout_error = -errno;
        if (stdout_error == 0 && ferror(stdout))
                stdout_error = -EIO;
        if (stdout_error == 0)
                return status;
        if (stdout_error != -EPIPE)
                message_error("cannot write to standard output: %s", strerror(-stdout_error));
        return status == EXIT_DONE ? EXIT_FAILED : status;
}

unsigned output_width(void) {
        const char *columns = getenv("COLUMNS");
        struct winsize ws;
        uint64_t n;

        if (columns && parse_u64(columns, WIDTH_MAX, &n) == 0 && n > 0)
                return (unsigned)n;
        if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0)
                return ws.ws_col;
        return 0;
}

void printer_init(Printer *p, FILE *stream) {
        *p = (Printer){ .stream = stream, .terminal = isatty(fileno(stream)) == 1, .filter = FILTER_INIT };
}

static int stream_write(FILE *stream, const void *data, size_t n) {
        int r = 0;

        if (n == 0)
                return 0;
        if (fwrite(data, 1, n, stream) != n || fflush(stream) != 0)
                r = -errno;
        if (r < 0 && stream == stdout && stdout_error == 0)
                stdout_error = r;
        return r;
}

int printer_write(Printer *p, const void *data, size_t n) {
        _cleanup_(buffer_done) Buffer safe = {};

        if (!p->terminal)
                return stream_write(p->stream, data, n);
        filter_feed(&p->filter, data, n, &safe);
        return stream_write(p->stream, safe.data, safe.n);
}

int printer_finish(Printer *p) {
        _cleanup_(buffer_done) Buffer safe = {};

        if (!p->terminal)
                return 0;
        filter_finish(&p->filter, &safe);
        return stream_write(p->stream, safe.data, safe.n);
}
