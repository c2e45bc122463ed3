/*
 * `meshsim report DIR... [--out FILE]`: one self-contained HTML file about one or several run folders. Runs of the same
 * configuration are grouped over their seeds; different configurations (baselines) stand beside each other.
 */
#ifndef SIM_REPORT_H
#define SIM_REPORT_H

/* argv[0] is "report". Returns the exit status: 0 done, 1 failed, 2 wrong usage, after a sentence on standard error. */
int sim_report_command(int argc, char **argv);

#endif
