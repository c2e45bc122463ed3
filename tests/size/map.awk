# Sums what a linker map says of each object: awk -f map.awk -v section=.text MAP. Lines "BYTES OBJECT", where an object
# of an archive is ARCHIVE(OBJECT). Map lines of an input section are " .name 0xADDRESS 0xSIZE FILE", the name on a line
# of its own when it is long; those that were thrown away come before the memory map.
function hex(s,   i, n) {
    n = 0
    s = tolower(s)
    for (i = 3; i <= length(s); i++) n = n * 16 + index("123456789abcdef", substr(s, i, 1))
    return n
}
/^Linker script and memory map/ { on = 1 }
# An output section begins in the first column.
on && /^[^ \t]/ { here = ($1 == section) }
on && here && /^ [.*]/ {
    line = $0
    if (NF == 1 && (getline next_line) > 0) line = line " " next_line
    n = split(line, word)
    if (n >= 4 && word[2] ~ /^0x/ && word[3] ~ /^0x/) {
        file = word[4]
        sub(/.*\//, "", file)
        sum[file] += hex(word[3])
    } else if (n == 3 && word[1] == "*fill*") sum["(fill)"] += hex(word[3])
}
END { for (f in sum) if (sum[f] > 0) printf "%d %s\n", sum[f], f }
