#!/bin/sh
# Prints sizes as JSON: report.sh CROSS_PREFIX ELF ENTRY_OBJECT. What counts as proto/ is decided by link.ld.
set -eu
section() { "$1size" -A "$2" | awk -v s="$3" '$1 == s { n = $2 } END { if (n == "") exit 1; print n }'; }
symbol() { "$1nm" -S "$2" | awk -v s="$3" '$4 == s { n = $2 } END { if (n == "") exit 1; print n }'; }
text=$(section "$1" "$2" .proto)
node=$((0x$(symbol "$1" "$3" size_of_mp_node)))
relay=$((0x$(symbol "$1" "$3" size_of_mp_relay)))
hci=$((0x$(symbol "$1" "$3" size_of_mp_hci)))
cat <<END
{
  "mp_node_bytes": $node,
  "mp_relay_bytes": $relay,
  "mp_hci_bytes": $hci,
  "proto_text_m4_bytes": $text
}
END
