#!/bin/sh
# Prints sizes as JSON: report.sh CROSS_PREFIX SIZE_DIR M0_BOOT_ELF M0_SLOT_ELF. Bytes, but for *_instr and *_ops.
set -eu
cross=$1 dir=$2
section() { "${cross}size" -A "$1" | awk -v s="$2" '$1 == s { n = $2 } END { if (n == "") exit 1; print n }'; }
symbol() { "${cross}nm" -S -t d "$1" | awk -v s="$2" '$4 == s { n = $2 } END { if (n == "") exit 1; print n + 0 }'; }
address() { "${cross}nm" -t d "$1" | awk -v s="$2" '$3 == s { n = $1 } END { if (n == "") exit 1; print n + 0 }'; }
# objects MAP PATTERN: bytes of flash of objects whose name fits; whole MAP: of all.
objects() { awk -v section=.text -f tests/size/map.awk "$1" | awk -v p="$2" '$2 ~ p { n += $1 } END { print n + 0 }'; }
cost() { awk -v k="$1" '$1 == k { n = $2 } END { if (n == "") exit 1; print n }' "$dir/cost.txt"; }
# part NAME BOOT_ELF SLOT_ELF FIELD...: the fields of what it costs to run
part() {
    boot_map=${2%.elf}.map slot_map=${3%.elf}.map
    boot=$(section "$2" .text) slot=$(section "$3" .text)
    crypto=$(objects "$boot_map" '^libsodium')
    app=$(objects "$slot_map" '^app_')
    # Data of the image up to where the application's begins; the handover in front of it is shared with the bootloader.
    ram=$(($(address "$3" nrf51_updater_end) - 0x20000000))
    stack=$(awk '/^(boot|slot) / && $2 > n { n = $2 } END { if (n == "") exit 1; print n }' "$dir/$1/stack.txt")
    # What the linker script sets aside, and so checks against the budget of RAM, is enough where it is run.
    for elf in "$2" "$3"; do
        if [ "$1" = m0 ] && [ "$stack" -gt "$(address "$elf" nrf51_stack_budget)" ]; then
            echo "size: $elf: stack of $stack bytes, the linker script sets aside $(address "$elf" nrf51_stack_budget)" >&2
            exit 1
        fi
    done
    cat <<END
  "$1": {
    "boot_text": $((boot - crypto)),
    "boot_crypto_text": $crypto,
    "updater_text": $((slot - app)),
    "ram": $ram,
    "stack": $stack,
END
    shift 3
    for field in "$@"; do printf '    "%s": %s,\n' "$field" "$(cost "$field")"; done
    printf '    "switch_ops": %s\n  },\n' "$(cost switch_ops)"
}
entry=$dir/obj/tests/size/part/entry.o
printf '{\n'
part m0 "$3" "$4" sign_instr chunk_instr chunk_instr_most boot_instr stack_seen boot_stack_seen
part m4 "$dir/m4/boot.elf" "$dir/m4/slot.elf"
cat <<END
  "mp_node_bytes": $(symbol "$entry" size_of_mp_node),
  "mp_relay_bytes": $(symbol "$entry" size_of_mp_relay),
  "mp_hci_bytes": $(symbol "$entry" size_of_mp_hci),
  "proto_text_m4_bytes": $(section "$dir/node.elf" .proto)
}
END
