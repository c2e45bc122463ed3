#!/bin/sh
# Checks the directions in which folders may include each other, and what the freestanding ones may take from libc.
# Prints file:line for each offence. Run from the top of the tree; reads every #include line, nothing else.
set -eu
list=$(find proto node-fw meshd sim tests -name '*.[ch]' | sort)
# shellcheck disable=SC2086
awk '
BEGIN {
    # folder (longest match decides) = folders it may include; a trailing slash includes what lies below.
    allow["proto"] = "proto"
    allow["proto/object"] = "proto proto/object"
    allow["proto/mesh"] = "proto proto/object proto/mesh"
    allow["proto/hci"] = "proto proto/hci"
    allow["node-fw/store"] = "proto/ node-fw/store node-fw/boot"
    allow["node-fw/boot"] = "proto proto/object node-fw/boot node-fw/store/flash.h"
    allow["node-fw/core"] = "proto/ node-fw/store node-fw/boot node-fw/core"
    allow["node-fw/port"] = "proto/ node-fw/"
    allow["meshd/release"] = "proto/ meshd/release"
    allow["meshd"] = "proto/ meshd/ node-fw/port/crypto"
    # The tool makes whole flashes and speaks with bootloaders.
    allow["meshd/ctl"] = "proto/ meshd/ node-fw/port/crypto node-fw/boot node-fw/store node-fw/port/nrf51/map.h"
    allow["sim"] = "proto/ sim/ node-fw/core node-fw/boot node-fw/store node-fw/port/crypto meshd/release"
    allow["tests"] = "proto/ node-fw/ meshd/ sim/ tests/"
    # Folders that run on a microcontroller: no system but this of libc.
    free["proto"] = free["node-fw/store"] = free["node-fw/boot"] = free["node-fw/core"] = free["node-fw/port"] = 1
    # Ports over a system, and what they share.
    free["node-fw/port/posix"] = free["node-fw/port/crypto"] = free["node-fw/port/zephyr"] = 0
    libc = " stdint.h stddef.h stdbool.h string.h limits.h "
}
# a/b/../c -> a/c
function normal(path,   n, part, i, out, m) {
    n = split(path, part, "/"); m = 0
    for (i = 1; i <= n; i++) {
        if (part[i] == ".") continue
        if (part[i] == ".." && m > 0) { m--; continue }
        out[++m] = part[i]
    }
    path = out[1]
    for (i = 2; i <= m; i++) path = path "/" out[i]
    return path
}
function folder(path) { sub(/\/[^\/]*$/, "", path); return path }
function exists(path,   line, got) { got = (getline line < path); close(path); return got >= 0 }
# The longest entry of a table that dir lies in.
function rule(table, dir) {
    while (!(dir in table)) {
        if (dir !~ /\//) return ""
        dir = folder(dir)
    }
    return dir
}
function is_allowed(list, target,   n, want, i) {
    n = split(list, want, " ")
    for (i = 1; i <= n; i++) {
        if (want[i] == target || want[i] == folder(target)) return 1
        if (want[i] ~ /\/$/ && index(target, want[i]) == 1) return 1
    }
    return 0
}
function offend(why) { printf "%s:%d: %s\n", FILENAME, FNR, why; bad++ }
FNR == 1 { dir = folder(FILENAME); key = rule(allow, dir); if (key == "") { offend("no rule for this folder") } count++ }
/^[ \t]*#[ \t]*include[ \t]*"/ {
    split($0, q, "\""); target = normal(dir "/" q[2])
    if (!exists(target)) target = normal(q[2])
    if (!exists(target)) { offend("no such file: " q[2]); next }
    if (target !~ /^(proto|node-fw|meshd|sim|tests)\//) { offend("outside the source folders: " q[2]); next }
    if (!is_allowed(allow[key], target)) offend(key " may not include " target)
    seen++
}
/^[ \t]*#[ \t]*include[ \t]*</ {
    name = $0; sub(/^[^<]*</, "", name); sub(/>.*/, "", name)
    if (free[rule(free, dir)] && index(libc, " " name " ") == 0) offend(rule(free, dir) " is freestanding and may not include <" name ">")
    if (name ~ /^bluetooth\// && !(FILENAME in bluetooth)) {
        bluetooth[FILENAME] = 1
        if (++bearers > 1 || dir != "meshd/daemon") offend("libbluetooth is GPL: only one file of meshd/daemon, the bearer, may use it")
    }
    if (name ~ /^(event2\/|event|sqlite3)/ && dir !~ /^(meshd\/daemon|meshd\/ctl|sim|tests)/) offend("only hosts use <" name ">")
    seen++
}
END {
    # A check that read nothing proves nothing.
    if (count == 0 || seen == 0) { print "check_includes: no sources found"; bad++ }
    exit bad > 0
}' $list
