#include "judge.h"

#include <math.h>
#include <stdarg.h>

void sim_sample_add(struct sim_sample *s, double value)
{
    s->count++;
    s->sum += value;
    s->squares += value * value;
}

double sim_sample_mean(const struct sim_sample *s)
{
    return s->count ? s->sum / (double)s->count : 0;
}

#define NORMAL_999 3.2905267 /* 99.95 % quantile of the normal distribution */

/* Quantile of Student's t from that of the normal (Abramowitz and Stegun, 26.7.5). */
static double student(double freedom)
{
    double z = NORMAL_999, z2 = z * z;
    double g1 = z * (z2 + 1) / 4;
    double g2 = z * ((5 * z2 + 16) * z2 + 3) / 96;
    double g3 = z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / 384;
    double g4 = z * ((((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945) / 92160;
    return z + g1 / freedom + g2 / pow(freedom, 2) + g3 / pow(freedom, 3) + g4 / pow(freedom, 4);
}

double sim_sample_half(const struct sim_sample *s)
{
    if (s->count < 6)
        return INFINITY;
    double n = (double)s->count, mean = s->sum / n;
    double variance = (s->squares - n * mean * mean) / (n - 1);
    return student(n - 1) * sqrt((variance > 0 ? variance : 0) / n);
}

static const char *rule_word(enum sim_rule rule)
{
    switch (rule) {
    case SIM_RULE_EXACT:
        return "exact";
    case SIM_RULE_NEAR:
        return "near";
    case SIM_RULE_AT_MOST:
        return "at most";
    case SIM_RULE_BROKEN:
        return "broken";
    }
    return "";
}

static bool agrees(const struct sim_finding *v)
{
    double error = fabs(v->measured - v->expected);
    switch (v->rule) {
    case SIM_RULE_EXACT:
        return fabs(v->deviation) <= SIM_EXACT_WITHIN && error <= v->half + 1e-9 * fabs(v->expected);
    case SIM_RULE_NEAR:
        return fabs(v->deviation) <= SIM_NEAR_WITHIN;
    case SIM_RULE_AT_MOST:
        return v->measured <= v->expected;
    case SIM_RULE_BROKEN:
        return false;
    }
    return false;
}

static void print_line(FILE *out, const struct sim_finding *v)
{
    fprintf(out, "%-4s %-13s %-44s ", v->is_ok ? "ok" : "FAIL", v->check, v->what);
    if (v->rule == SIM_RULE_BROKEN) {
        fputc('\n', out);
        return;
    }
    fprintf(out, "%-7s %11.5g %11.5g ", rule_word(v->rule), v->expected, v->measured);
    if (v->half > 0)
        fprintf(out, "+- %-9.3g", v->half);
    else
        fprintf(out, "%-12s", "");
    fprintf(out, " %+7.2f %%\n", 100 * v->deviation);
}

static void decide(struct sim_judge *j, struct sim_finding v, const char *what, va_list args)
{
    v.check = j->check;
    vsnprintf(v.what, sizeof v.what, what, args);
    v.deviation = v.expected != 0 ? v.measured / v.expected - 1 : v.measured != 0;
    /* not a number is no agreement */
    v.is_ok = isfinite(v.measured) && isfinite(v.expected) && agrees(&v);
    if (j->out)
        print_line(j->out, &v);
    j->failed += !v.is_ok;
    if (j->count < SIM_FINDINGS_MAX)
        j->finding[j->count++] = v;
}

void sim_judge_exact(struct sim_judge *j, double expected, double measured, double half, const char *what, ...)
{
    va_list args;
    va_start(args, what);
    decide(j, (struct sim_finding){.rule = SIM_RULE_EXACT, .expected = expected, .measured = measured, .half = half},
           what, args);
    va_end(args);
}

void sim_judge_near(struct sim_judge *j, double expected, double measured, double half, const char *what, ...)
{
    va_list args;
    va_start(args, what);
    decide(j, (struct sim_finding){.rule = SIM_RULE_NEAR, .expected = expected, .measured = measured, .half = half},
           what, args);
    va_end(args);
}

void sim_judge_at_most(struct sim_judge *j, double bound, double measured, const char *what, ...)
{
    va_list args;
    va_start(args, what);
    decide(j, (struct sim_finding){.rule = SIM_RULE_AT_MOST, .expected = bound, .measured = measured}, what, args);
    va_end(args);
}

void sim_judge_broken(struct sim_judge *j, const char *why, ...)
{
    va_list args;
    va_start(args, why);
    decide(j, (struct sim_finding){.rule = SIM_RULE_BROKEN}, why, args);
    va_end(args);
}

static void write_text(FILE *f, const char *text)
{
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', f);
        fputc((unsigned char)*text < ' ' ? ' ' : *text, f);
    }
    fputc('"', f);
}

/* JSON has no infinity. */
static void write_number(FILE *f, const char *key, double value)
{
    if (isfinite(value))
        fprintf(f, ", \"%s\": %.9g", key, value);
    else
        fprintf(f, ", \"%s\": null", key);
}

int sim_judge_write_json(const struct sim_judge *j, const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f)
        return -1;
    fprintf(f, "{\"failed\": %u, \"findings\": [\n", j->failed);
    for (unsigned i = 0; i < j->count; i++) {
        const struct sim_finding *v = &j->finding[i];
        fprintf(f, "  {\"check\": \"%s\", \"what\": ", v->check);
        write_text(f, v->what);
        fprintf(f, ", \"rule\": \"%s\"", rule_word(v->rule));
        write_number(f, "expected", v->expected);
        write_number(f, "measured", v->measured);
        write_number(f, "interval_half", v->half);
        write_number(f, "deviation", v->deviation);
        fprintf(f, ", \"ok\": %s}%s\n", v->is_ok ? "true" : "false", i + 1 < j->count ? "," : "");
    }
    fputs("]}\n", f);
    int bad = ferror(f);
    if (fclose(f) != 0 || bad)
        return -1;
    return 0;
}
