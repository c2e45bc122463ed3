/*
 * Deepest stack of firmware for ARMv6-M and ARMv7-M, found without running it: from the disassembly of what was linked,
 * whatever compiled it, libraries and hand-written assembly included.
 *
 *     stack_open() -> stack_rules() -> stack_read() per image -> stack_deepest() -> stack_close()
 *
 * Every function is followed along all of its paths while the stack pointer is tracked, so each call is known with the
 * depth at which it is made. Calls through pointers are resolved by rules that a person writes (tests/size/
 * indirect.txt): the source line of the call, which the line table names, must contain the text of a rule. A call that
 * no rule names, an unlisted recursion, and a stack pointer that cannot be followed are errors, so that nothing is
 * missed silently.
 *
 * Rules, one a line, # begins a comment:
 *
 *     call TEXT TARGET...        a call whose source line contains TEXT (no blanks) goes to one of these functions:
 *                                NAME or NAME@FILE in the same image, with ? where it may not be linked; IMAGE:NAME;
 *                                or `-`: to nobody, or for good.
 *                                Of several rules that fit a line all targets count.
 *     jump TEXT                  an indirect jump of assembly that stays in its function, or returns
 *     root IMAGE NAME            where the image begins
 *     interrupt IMAGE PRIORITY TARGET   a handler that may come on top of it; one of each priority (0 to 3) may
 *                                be under way at once
 *     recursion NAME TIMES       a function that calls itself: frames of it at once, at most
 *     frame NAME BYTES           the function's own stack use, where it sets the stack pointer itself
 *
 * Not reentrant per struct. What is wrong is written to standard error.
 */
#ifndef TESTS_STACK_H
#define TESTS_STACK_H

#include <stdio.h>

struct stack;

struct stack *stack_open(void);
void stack_close(struct stack *s);

/* Reads rules. 0, or -1: a line is not a rule. */
int stack_rules(struct stack *s, FILE *in);
/* Reads `objdump --disassemble --line-numbers --no-show-raw-insn` of an ELF with line tables. 0, or -1. */
int stack_read(struct stack *s, const char *image, FILE *in);
/* Bytes of the deepest stack of an image with its interrupts on top, or -1; the path that leads there goes to out
 * (may be NULL), a line a function: depth where it ends, its own part, its name. */
long stack_deepest(struct stack *s, const char *image, FILE *out);
/* Bytes of one function with all that it calls, or -1. */
long stack_function(struct stack *s, const char *image, const char *function);

#endif
