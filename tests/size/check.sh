#!/bin/sh
# Prints the sizes, the flash of each module, and fails when a budget is exceeded: check.sh SIZE_JSON LINK_MAP
set -eu
cat "$1"
# Map lines of the section: " .text.name 0xADDRESS 0xSIZE FILE", the name on a line of its own when it is long.
awk '
    function hex(s,   i, n) { n = 0; for (i = 3; i <= length(s); i++) n = n * 16 + index("123456789abcdef", substr(s, i, 1)); return n }
    /^\.proto / { on = 1 } /^\.node / { on = 0 }
    on && /libproto\.a\(/ {
        size = hex($(NF - 1)); file = $NF; sub(/.*\(/, "", file); sub(/\.o\)/, "", file); sum[file] += size
    }
    END { for (f in sum) printf "  %6d %s\n", sum[f], f }' "$2" | sort -rn
awk -F'[:,]' '
    function limit(name, most) { if ($1 ~ "\"" name "\"") { if ($2 + 0 > most) { printf "size: %s is %d, at most %d\n", name, $2, most; bad = 1 } seen++ } }
    { limit("mp_node_bytes", 1024); limit("proto_text_m4_bytes", 24576) }
    END { if (seen != 2) { print "size: a number is missing"; bad = 1 } exit bad }' "$1"
