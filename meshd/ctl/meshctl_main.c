/*
 * meshctl: see ctl.h and meshctl --help.
 */
#include "ctl.h"

int main(int argc, char **argv)
{
    return md_ctl_run(argc, argv);
}
