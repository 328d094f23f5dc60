#!/usr/bin/env bash
# Builds the Debian package with one command and prints its path.
#
#   systemd/package.sh                       release build, package in target/debian
#   systemd/package.sh --binary PATH         packages this binary, builds nothing
#   systemd/package.sh --into FOLDER         puts the package there
#   systemd/package.sh --compression METHOD  xz (default), zstd, gzip, none
#   systemd/package.sh --revision N          the package's revision (1)
#
# Needs dpkg-deb and dpkg-shlibdeps (package dpkg-dev) and a C compiler's strip. No packaging tool beyond
# what Debian builds its own with: the package has one binary and a handful of files, and what belongs to
# dpkg (conffile, user, unit) is three short scripts either way. The same binary of the same commit gives the same
# bytes: times are the commit's.

set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
into="${CARGO_TARGET_DIR:-$root/target}/debian"
binary=
compression=xz
revision=1
while (($# > 0)); do
  case "$1" in
    --binary | --into | --compression | --revision)
      if (($# < 2)); then
        echo "systemd/package.sh: $1 needs a value" >&2
        exit 2
      fi
      declare "${1#--}=$2"
      shift 2
      ;;
    -h | --help)
      sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    *)
      echo "systemd/package.sh: unknown option $1; see --help" >&2
      exit 2
      ;;
  esac
done

if [[ -z "$binary" ]]; then
  (cd "$root" && cargo build --release --bin fanwire)
  binary="${CARGO_TARGET_DIR:-$root/target}/release/fanwire"
fi

readonly maintainer="The Fanwire maintainers <maintainers@fanwire.invalid>"
version="$("$binary" --version | cut -d' ' -f2)-$revision"
architecture="$(dpkg --print-architecture)"
changed="$(git -C "$root" log -1 --format=%ct 2>/dev/null || stat -c %Y "$binary")"
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$changed}"

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
tree="$work/tree"
umask 022

# put MODE SOURCE TARGET: a file of the package; - is standard input.
put() {
  install -D -m "$1" "${2/#-//dev/stdin}" "$tree$3"
}

# put_gz SOURCE TARGET: the same, compressed as Debian's policy asks.
put_gz() {
  install -d "$(dirname "$tree$2")"
  gzip -9n <"$1" >"$tree$2"
  chmod 0644 "$tree$2"
}

put_program() {
  put 0755 "$binary" /usr/bin/fanwire
  strip --strip-unneeded --remove-section=.comment --remove-section=.note "$tree/usr/bin/fanwire"
}

# The defaults as comments, so that an upgrade's new defaults count for whoever has not set others.
put_configuration() {
  "$binary" config default | sed -E 's/^([a-z_0-9]+ = )/#\1/' | put 0640 - /etc/fanwire/fanwire.toml
  chmod 0750 "$tree/etc/fanwire"
}

put_units() {
  local unit
  for unit in fanwire.service fanwire.socket; do
    put 0644 "$root/systemd/$unit" "/lib/systemd/system/$unit"
  done
}

put_documentation() {
  local doc=/usr/share/doc/fanwire page shell
  put 0644 "$root/systemd/debian/copyright" "$doc/copyright"
  put 0644 "$root/systemd/debian/lintian-overrides" /usr/share/lintian/overrides/fanwire
  put 0644 "$root/README.md" "$doc/README.md"
  put_gz "$root/ARCHITECTURE.md" "$doc/ARCHITECTURE.md.gz"
  put_gz "$root/CHANGELOG.md" "$doc/changelog.gz"
  changelog | gzip -9n | put 0644 - "$doc/changelog.Debian.gz"
  put 0644 "$root/tuning/90-fanwire.conf" "$doc/examples/90-fanwire.conf"
  put 0644 "$root/systemd/fanwire.service.d/10-notify-reload.conf" \
    "$doc/examples/fanwire.service.d/10-notify-reload.conf"
  mkdir "$work/man"
  "$binary" generate man "$work/man"
  for page in "$work"/man/*.1; do
    put_gz "$page" "/usr/share/man/man1/$(basename "$page").gz"
  done
  for shell in bash:bash-completion/completions/fanwire zsh:zsh/vendor-completions/_fanwire \
    fish:fish/vendor_completions.d/fanwire.fish; do
    "$binary" generate completions "${shell%%:*}" | put 0644 - "/usr/share/${shell#*:}"
  done
}

changelog() {
  cat <<END
fanwire ($version) unstable; urgency=medium

  * See changelog.gz, which is written for operators.

 -- $maintainer  $(LC_ALL=C date -uR -d "@$SOURCE_DATE_EPOCH")
END
}

# What the binary is linked against, in the versions it needs.
dependencies() {
  mkdir -p "$work/shlibs/debian"
  printf 'Source: fanwire\n\nPackage: fanwire\nArchitecture: any\n' >"$work/shlibs/debian/control"
  (cd "$work/shlibs" && dpkg-shlibdeps -O "$tree/usr/bin/fanwire" 2>/dev/null) |
    sed -n 's/^shlibs:Depends=//p'
}

put_control() {
  local file
  mkdir "$tree/DEBIAN"
  cat >"$tree/DEBIAN/control" <<END
Package: fanwire
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du -k -s --apparent-size "$tree" | cut -f1)
Depends: $(dependencies), adduser, procps
Recommends: ca-certificates
Section: net
Priority: optional
Description: realtime message broker on io_uring
 Backends publish with one HTTP POST; browsers, apps and services receive over
 WebSocket, server-sent events or long polling, and get what they missed when
 they come back. One process with one thread per CPU, in memory or durable.
END
  find "$tree/etc" -type f -printf '/etc/%P\n' >"$tree/DEBIAN/conffiles"
  for file in postinst prerm postrm; do
    put 0755 "$root/systemd/debian/$file" "/DEBIAN/$file"
  done
  (cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z |
    grep -zv '^etc/' | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
  chmod 0644 "$tree"/DEBIAN/{control,conffiles,md5sums}
}

put_program
put_configuration
put_units
put_documentation
put_control
mkdir -p "$into"
package="$into/fanwire_${version}_$architecture.deb"
dpkg-deb --build --root-owner-group -Z"$compression" "$tree" "$package" >/dev/null
echo "$package"
