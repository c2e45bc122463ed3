/*
 * Inside the stack analysis: what reading code (stack_code.c) hands to the call graph (stack.c). Not reentrant.
 */
#ifndef TESTS_STACK_INTERNAL_H
#define TESTS_STACK_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stack_insn {
    uint32_t address;
    char op[12];      /* mnemonic without its width suffix; empty: data */
    const char *args; /* of data: the text of the directive's value */
    const char *file; /* source, NULL unknown */
    unsigned line;
    long depth;         /* bytes below the caller's stack pointer before it runs, -1: not reached yet */
    uint32_t value[16]; /* of registers whose bit in known is set */
    uint16_t known;
};

struct stack_call {
    uint32_t address; /* of a direct call's target; 0: indirect */
    long depth;       /* at the call */
    const char *file; /* of an indirect one */
    unsigned line;
    uint32_t at;   /* address of the instruction */
    bool may_stay; /* an indirect jump, not a call: rule `jump` may name it, too */
};

struct stack_function {
    const char *image;
    char *name;
    uint32_t address;
    uint32_t end; /* address of what follows */
    struct stack_insn *insn;
    size_t insns;
    struct stack_call *call;
    size_t calls;
    long own;   /* deepest of itself */
    long total; /* with what it calls, -1: not known yet */
    bool is_open, is_broken;
    const struct stack_function *next; /* on the deepest path */
    long next_at;                      /* depth at which it is called */
};

/* Finds own depth and calls. 0, or -1 with a message: its stack pointer cannot be followed. */
int stack_follow(struct stack_function *f);

#endif
