#!/usr/bin/env bash
# Installs the Debian packages of packages.txt that are missing. Asks for sudo only when it is not root and something
# is missing; with everything present it neither needs a network nor changes anything.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() { say "usage: scripts/install.sh [--list]
  --list  only print which packages are missing"; }

list_only=false
case "${1:-}" in
  "") ;;
  --list) list_only=true ;;
  --help|-h) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

command -v dpkg-query >/dev/null ||
  die "this is not Debian; install by hand what scripts/packages.txt names"

mapfile -t wanted < <(sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' "$root/scripts/packages.txt")
# dpkg-query fails when it does not know one of the names; what it does know is still printed.
present=$(dpkg-query -W -f='${db:Status-Abbrev} ${Package}\n' "${wanted[@]}" 2>/dev/null || true)
missing=()
for package in "${wanted[@]}"; do
  grep -qxF "ii  $package" <<<"$present" || missing+=("$package")
done

if [ ${#missing[@]} -eq 0 ]; then
  say "all ${#wanted[@]} packages are installed"
  exit 0
fi
say "missing: ${missing[*]}"
if $list_only; then
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || die "run as root: apt-get install ${missing[*]}"
  as_root=(sudo)
  say "using sudo to install them"
fi
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
