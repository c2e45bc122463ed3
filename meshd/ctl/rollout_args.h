/*
 * Rollout options of the command line to the text form of a policy (meshd/release/policy.h). Pure; reentrant.
 */
#ifndef MD_ROLLOUT_ARGS_H
#define MD_ROLLOUT_ARGS_H

#include <stddef.h>

#define MD_RINGS_TEXT_MAX 3072

/*
 * "name=canary,label=canary,soak=1h,max-failures=0" to the clause "canary: label=canary soak=1h max-failures=0",
 * appended to out (terminated) with a separator. Values are not judged here, the daemon does; but nothing of a value
 * can end its clause. 0, or -1 with a sentence in error.
 */
int md_ring_clause(const char *arg, char *out, size_t cap, char *error, size_t error_size);

/* Appends a setting of the whole ("confirm", "60") the same way. NULL value: nothing. */
int md_policy_setting(const char *name, const char *value, char *out, size_t cap, char *error, size_t error_size);

#endif
