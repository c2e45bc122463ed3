#!/bin/sh
# Fetches and unpacks the Debian source package of the running release: debian_source.sh PACKAGE FOLDER
#
# FOLDER appears at once, complete, with Debian's patches applied, or not at all. apt works on lists, state and cache of
# its own beside FOLDER, made from the system's configured sources by asking each for its source packages too; nothing of
# the system's changes, no privilege is needed. What is fetched is verified as for the system's own packages: Signed-By
# and the trusted keys are the system's.
# Of several versions it takes the one that the installed lib${PACKAGE#lib}-dev was built from, when it is still offered.
set -eu
fail() { echo "source package $package: $*" >&2; exit 1; }

package=$1
case $2 in /*) folder=$2 ;; *) folder=$PWD/$2 ;; esac
[ ! -d "$folder" ] || exit 0
for tool in apt-get apt-config dpkg-source; do
    command -v $tool >/dev/null || fail "no $tool here (packages apt and dpkg-dev); give an unpacked source as SODIUM_SOURCE=folder instead"
done
mkdir -p "${folder%/*}"
work=$(mktemp -d "${folder%/*}/.$package.XXXXXX") || fail "cannot write beside $folder"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$work/etc/sources.list.d" "$work/state/lists/partial" "$work/cache/archives/partial"

# The system's sources, of both formats, as sources of source packages. Media to be inserted cannot be asked.
eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
for file in "$list" "${parts%/}"/*.list; do
    [ -f "$file" ] && sed -n '/cdrom:/d; s/^[[:space:]]*deb\(-src\)\{0,1\}[[:space:]]\{1,\}/deb-src /p' "$file"
done | awk '!seen[$0]++' >"$work/etc/sources.list"
for file in "${parts%/}"/*.sources; do
    [ -f "$file" ] && awk '
        tolower($0) ~ /^types:/ { print "Types: deb-src"; folded = 1; next }
        folded && /^[ \t]/ { next }
        { folded = 0; print }' "$file" >"$work/etc/sources.list.d/${file##*/}"
done
[ -s "$work/etc/sources.list" ] || [ -n "$(ls "$work/etc/sources.list.d")" ] || fail "apt has no sources configured"

# Read after the system's own settings, so that proxies and the like stay. The folder may be closed to the user that apt,
# run by root, would download as; hooks after an update are about the system's lists.
cat >"$work/apt.conf" <<END
Dir::Etc::sourcelist "$work/etc/sources.list";
Dir::Etc::sourceparts "$work/etc/sources.list.d";
Dir::State "$work/state";
Dir::State::lists "$work/state/lists";
Dir::Cache "$work/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END
echo "fetching source package $package"
cd "$work"
own_apt() { apt-get -q -c "$work/apt.conf" "$@" >>"$work/log" 2>&1 </dev/null; }
built=$(dpkg-query -W -f '${source:Version}' "$package-dev" 2>/dev/null) || built=
# A source that cannot be had, or does not verify, leaves no list behind; another one may do.
own_apt update || :
{ [ -n "$built" ] && own_apt source --download-only --only-source "$package=$built"; } ||
    own_apt source --download-only --only-source "$package" || { tail -20 "$work/log" >&2; fail "apt cannot fetch it from the sources of $list and $parts"; }
dpkg-source -x "$package"_*.dsc "$work/unpacked" >>"$work/log" 2>&1 || { tail -20 "$work/log" >&2; fail "dpkg-source failed"; }
# Another make may have been faster.
mv -T "$work/unpacked" "$folder" 2>>"$work/log" || [ -d "$folder" ] || fail "cannot make $folder"
