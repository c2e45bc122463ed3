/*
 * stack: the deepest stack of firmware, from its disassembly (tests/lib/stack.h).
 *
 *     stack RULES NAME=DISASSEMBLY... [-f NAME:FUNCTION]...
 *
 * Prints for each image with a root its name, the bytes, and the path; for each -f the bytes of one function with what
 * it calls.
 */
#include <stdio.h>
#include <string.h>

#include "tests/lib/stack.h"

static int read_all(struct stack *s, int argc, char **argv)
{
    FILE *in = fopen(argv[1], "r");

    if (in == NULL || stack_rules(s, in) != 0) {
        fprintf(stderr, "stack: %s: not to be read\n", argv[1]);
        return -1;
    }
    fclose(in);
    for (int i = 2; i < argc && strcmp(argv[i], "-f") != 0; i++) {
        char *path = strchr(argv[i], '=');
        if (path == NULL)
            return -1;
        *path++ = 0;
        in = fopen(path, "r");
        if (in == NULL || stack_read(s, argv[i], in) != 0) {
            fprintf(stderr, "stack: %s: not to be read\n", path);
            return -1;
        }
        fclose(in);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct stack *s = stack_open();
    int i = 2, bad = argc < 3 || read_all(s, argc, argv) != 0;

    for (; !bad && i < argc && strcmp(argv[i], "-f") != 0; i++) {
        const long bytes = stack_deepest(s, argv[i], NULL);
        if (bytes < 0) {
            bad = 1;
            break;
        }
        printf("%s %ld\n", argv[i], bytes);
        stack_deepest(s, argv[i], stdout);
    }
    for (; !bad && i + 1 < argc; i += 2) {
        char *function = strchr(argv[i + 1], ':');
        if (function == NULL)
            break;
        *function++ = 0;
        const long bytes = stack_function(s, argv[i + 1], function);
        bad = bytes < 0;
        printf("%s:%s %ld\n", argv[i + 1], function, bytes);
    }
    stack_close(s);
    return bad;
}
