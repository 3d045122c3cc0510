/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Stands in for libFuzzer in `make check`: gives every file of a corpus to the target once, and
 * says so in TAP. The folder is tests/fuzz/corpus/ and the program's name without "replay-".
 */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *folder, const char *name) {
        static uint8_t bytes[1 << 20];
        char path[4096];
        uint8_t *data;
        size_t size;
        FILE *file;

        if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) >= sizeof(path))
                return -1;
        file = fopen(path, "re");
        if (!file)
                return -1;
        size = fread(bytes, 1, sizeof(bytes), file);
        fclose(file);

        /* Of exactly its size, so that a sanitizer sees the first byte read behind it. */
        data = malloc(size > 0 ? size : 1);
        if (!data)
                return -1;
        memcpy(data, bytes, size);
        (void)LLVMFuzzerTestOneInput(data, size);
        free(data);
        return 0;
}

int main(int argc, char **argv) {
        const char *source = getenv("MANHOLED_SRCDIR"), *target = strstr(argv[0], "replay-");
        struct dirent **names = NULL;
        char folder[4096];
        int n, count = 0;

        if (!target || (size_t)snprintf(folder, sizeof(folder), "%s/tests/fuzz/corpus/%s",
                                        source ? source : ".", target + strlen("replay-")) >= sizeof(folder))
                return EXIT_FAILURE;

        n = scandir(folder, &names, NULL, alphasort);
        for (int i = 0; i < n; i++) {
                if (names[i]->d_name[0] != '.') {
                        int r = replay(folder, names[i]->d_name);

                        printf("%s %d - %s\n", r < 0 ? "not ok" : "ok", ++count, names[i]->d_name);
                        fflush(stdout);
                }
                free(names[i]);
        }
        free(names);
        printf("1..%d\n", count);
        return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
