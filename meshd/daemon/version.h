/* Version of meshd and meshctl, told by both. */
#ifndef MD_VERSION_H
#define MD_VERSION_H

#define MD_VERSION "1.0.0"

#endif
