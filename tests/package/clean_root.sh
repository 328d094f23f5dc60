#!/usr/bin/env bash
# Installs, starts, upgrades, removes and purges the package in a Debian tree that has never seen it.
#
#   clean_root.sh PACKAGE NEWER_PACKAGE     as root; needs mmdebstrap and a Debian mirror
#
# There is no systemd in the tree: the binary is run by hand as the package's user. What systemd would do,
# the maintainer scripts are seen to leave out.

set -euo pipefail

first="$1"
second="$2"
root="$(mktemp -d)"
broker=
finish() {
  if [[ -n "$broker" ]]; then
    kill "$broker" 2>/dev/null || true
    wait "$broker" 2>/dev/null || true
  fi
  rm -rf "$root"
}
trap finish EXIT

fail() {
  echo "clean root: $*" >&2
  exit 1
}

# inside COMMAND...: runs it in the tree.
inside() {
  chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# install_package PACKAGE: apt checks its dependencies, dpkg its conffile.
install_package() {
  cp "$1" "$root/tmp/fanwire.deb"
  inside apt-get install -y -qq --allow-downgrades /tmp/fanwire.deb >"$root/tmp/apt.log" 2>&1 ||
    { cat "$root/tmp/apt.log" >&2; fail "apt-get install failed"; }
}

# What the package depends on beyond the base comes now: afterwards the tree has no network of its own.
mmdebstrap --quiet --variant=apt --include=adduser,procps bookworm "$root"

install_package "$first"
inside id fanwire >/dev/null || fail "no user"
[[ "$(inside stat -c '%U:%G %a' /etc/fanwire/fanwire.toml)" == "root:fanwire 640" ]] ||
  fail "the configuration is $(inside stat -c '%U:%G %a' /etc/fanwire/fanwire.toml)"
[[ "$(inside stat -c '%U:%G %a' /var/lib/fanwire)" == "fanwire:fanwire 750" ]] || fail "the state folder"
inside test -e /lib/systemd/system/fanwire.service || fail "no unit"

: >"$root/tmp/greeting"
# Started by hand as the unit's user, with the packaged configuration and a store where the unit has it.
chroot --userspec=fanwire:fanwire "$root" env FANWIRE_STORE_PATH=/var/lib/fanwire/store.db \
  /usr/bin/fanwire serve --config /etc/fanwire/fanwire.toml --listen 127.0.0.1:0 --shards 1 \
  >"$root/tmp/greeting" 2>"$root/tmp/broker.log" &
broker=$!
until url="$(sed -n 's/^fanwire listens on //p' "$root/tmp/greeting")" && [[ -n "$url" ]]; do
  kill -0 "$broker" 2>/dev/null || { cat "$root/tmp/broker.log" >&2; fail "the broker ended"; }
  sleep 0.05
done
inside fanwire publish --url "$url" news hello >/dev/null || fail "no publish"
kill -TERM "$broker"
wait "$broker" || fail "the broker ended with $?"
broker=
inside test -s /var/lib/fanwire/store.db || fail "no store"

# An edited configuration survives an upgrade, and is still not everyone's to read.
inside sed -i 's/^#stop_timeout = .*/stop_timeout = "12s"/' /etc/fanwire/fanwire.toml
install_package "$second"
[[ "$(inside dpkg-query -W -f '${Version}' fanwire)" == "$(dpkg-deb -f "$second" Version)" ]] ||
  fail "not upgraded"
inside grep -q '^stop_timeout = "12s"' /etc/fanwire/fanwire.toml || fail "the edit is lost"
[[ "$(inside stat -c '%U:%G %a' /etc/fanwire/fanwire.toml)" == "root:fanwire 640" ]] || fail "its mode is lost"
inside fanwire config check --config /etc/fanwire/fanwire.toml >/dev/null || fail "the configuration is bad"

inside apt-get remove -y -qq fanwire >/dev/null 2>&1 || fail "it cannot be removed"
inside test ! -e /usr/bin/fanwire || fail "the binary is left"
inside test -e /etc/fanwire/fanwire.toml || fail "removing takes the configuration"
inside test -s /var/lib/fanwire/store.db || fail "removing takes the store"

inside apt-get purge -y -qq fanwire >/dev/null 2>&1 || fail "it cannot be purged"
left="$(inside find / -xdev -name '*fanwire*' -not -path '/tmp/*' -not -path '/proc/*' -not -path '/var/log/*' -not -path '/var/cache/*')"
[[ -z "$left" ]] || fail "a purge leaves $left"
echo "clean root: good"
