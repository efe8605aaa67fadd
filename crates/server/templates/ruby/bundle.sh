#!/bin/sh
# Copies this machine's Ruby into ruby/: the program, its standard library, and the shared objects that
# both need. Run it before the first deployment, and again when this machine has another Ruby.
set -eu
cd "$(dirname "$0")"
command -v ruby >/dev/null || { echo "bundle.sh: no ruby on this machine: apt-get install ruby" >&2; exit 1; }
rm -rf ruby
mkdir -p ruby/lib ruby/stdlib
about() { ruby --disable-gems -rrbconfig -e "puts $1"; }
cp -L "$(about RbConfig.ruby)" ruby/ruby
for folder in "$(about 'RbConfig::CONFIG["rubylibdir"]')" "$(about 'RbConfig::CONFIG["rubyarchdir"]')"; do
  # rdoc writes documentation, and links to fonts that need not be there.
  tar -C "$folder" --exclude=./rdoc -chf - . | tar -C ruby/stdlib -xf -
done
find ruby -type f \( -path ruby/ruby -o -name '*.so' \) -exec ldd {} + 2>/dev/null |
  sed -n 's/.* => \(\/[^ ]*\) (.*/\1/p' | sort -u |
  while read -r library; do
    case ${library##*/} in
      # The platform brings these, in one piece with its loader.
      libc.so.* | libdl.so.* | libm.so.* | libpthread.so.* | libresolv.so.* | librt.so.* | libutil.so.*) ;;
      *) cp -L "$library" ruby/lib/ ;;
    esac
  done
echo "$(ruby --version), $(du -sh ruby | cut -f1)"
