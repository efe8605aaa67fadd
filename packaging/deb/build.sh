#!/usr/bin/env bash
# packaging/deb/build.sh BINARY FOLDER: makes FOLDER/freehold_VERSION_ARCH.deb of a binary that was
# built. `make deb` builds one first. The same binary and commit give the same package, to the byte.
#
# DEB_LEVEL is how hard it is compressed, 0 to 9. DEBFULLNAME and DEBEMAIL are who answers for the package,
# as for Debian's own tools.
#
# Needs dpkg-dev (dpkg-deb, dpkg-shlibdeps, strip), which build-essential brings.
source "$(dirname "$0")/../../scripts/lib.sh"

[ $# = 2 ] || die "usage: packaging/deb/build.sh BINARY FOLDER"
binary=$1 folder=$2 here=$ROOT/packaging
[ -x "$binary" ] || die "there is no binary $binary"
for tool in dpkg-deb dpkg-shlibdeps strip python3; do
  have "$tool" || die "missing $tool: sudo apt-get install -y --no-install-recommends dpkg-dev binutils"
done

# A commit that is no release sorts before its release and behind the commits before it.
release=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)
git() { command git -c safe.directory="$ROOT" -C "$ROOT" "$@" 2>/dev/null; }
version=$release
if ! git describe --exact-match --tags --match "v$release" >/dev/null && commit=$(git rev-parse --short HEAD); then
  version="$release~dev$(git rev-list --count HEAD).g$commit"
fi
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct || echo 0)}
export SOURCE_DATE_EPOCH
maintainer="${DEBFULLNAME:-Freehold} <${DEBEMAIL:-freehold@localhost}>"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
put() { install -D -m "$1" "$2" "$tree/$3"; }

put 755 "$binary" usr/bin/freehold
strip --strip-debug --remove-section=.comment --enable-deterministic-archives "$tree/usr/bin/freehold"
put 644 "$here/freehold.toml" etc/freehold/freehold.toml
put 644 "$here/prometheus/freehold.rules.yml" usr/share/freehold/prometheus/freehold.rules.yml
put 644 "$here/grafana/freehold.json" usr/share/freehold/grafana/freehold.json
put 644 "$here/logrotate/freehold" usr/share/doc/freehold/examples/logrotate
put 644 "$here/deb/copyright" usr/share/doc/freehold/copyright
put 644 "$ROOT/NOTICE" usr/share/doc/freehold/NOTICE
find_cargo
(cd "$ROOT" && cargo metadata --quiet --locked --offline --format-version 1) |
  python3 "$here/deb/libraries.py" >"$work/libraries"
put 644 "$work/libraries" usr/share/doc/freehold/libraries
install -d -m 755 "$tree/usr/lib/systemd/system" "$tree/usr/share/lintian/overrides"
sed -e 's#@BIN@#/usr/bin/freehold#; s#@DATA@#/var/lib/freehold#' "$here/systemd/freehold.service" \
  >"$tree/usr/lib/systemd/system/freehold.service"
install -m 644 "$here/deb/lintian-overrides" "$tree/usr/share/lintian/overrides/freehold"
printf 'freehold (%s) unstable; urgency=medium\n\n  * docs/book and release-notes have what changed.\n\n -- %s  %s\n' \
  "$version" "$maintainer" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$work/changelog"
put 644 "$work/changelog" usr/share/doc/freehold/changelog.gz

# What the binary needs of shared libraries, with the least version that has its symbols.
arch=$(dpkg --print-architecture)
mkdir -p "$work/debian"
printf 'Source: freehold\n\nPackage: freehold\nArchitecture: %s\n' "$arch" >"$work/debian/control"
libraries=$(cd "$work" && dpkg-shlibdeps -O "$tree/usr/bin/freehold" 2>"$work/said" | sed 's/^shlibs:Depends=//') ||
  die "dpkg-shlibdeps could not say what the binary needs: $(cat "$work/said")"

mkdir -p "$tree/DEBIAN"
for script in preinst postinst prerm postrm; do install -m 755 "$here/deb/$script" "$tree/DEBIAN/$script"; done
echo /etc/freehold/freehold.toml >"$tree/DEBIAN/conffiles"
cat >"$tree/DEBIAN/control" <<CONTROL
Package: freehold
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -ks --apparent-size "$tree" | cut -f1)
Depends: ${libraries:+$libraries, }passwd
Recommends: e2fsprogs, ca-certificates, python3
Suggests: nodejs, default-jre-headless, prometheus
Section: net
Priority: optional
Description: functions as a service that speaks AWS Lambda's API
 One binary that turns a machine into a Function-as-a-Service platform.
 Functions written for AWS Lambda run unmodified, each in a sandbox of its
 own, and the clients made for it work unmodified. It needs no containers,
 no orchestrator, no account and no database.
 .
 The service listens on 127.0.0.1:7070 and runs functions with the
 interpreters that the machine has.
CONTROL
(cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
chmod 644 "$tree"/DEBIAN/{control,conffiles,md5sums}
find "$tree" -type d -exec chmod 755 {} +

mkdir -p "$folder"
package=$folder/freehold_${version}_$arch.deb
# One thread: how many there are would show in the bytes.
DPKG_DEB_THREADS_MAX=1 dpkg-deb --root-owner-group -Zxz "-z${DEB_LEVEL:-6}" --build "$tree" "$package" >/dev/null
say "$package"
