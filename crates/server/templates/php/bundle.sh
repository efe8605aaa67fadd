#!/bin/sh
# Copies this machine's PHP into php/: the program, and the shared objects that it needs. Run it before
# the first deployment, and again when this machine has another PHP. Extensions that are files of their
# own (`php -i | grep extension_dir`) are not copied.
set -eu
cd "$(dirname "$0")"
command -v php >/dev/null || { echo "bundle.sh: no php on this machine: apt-get install php-cli" >&2; exit 1; }
rm -rf php
mkdir -p php/lib
cp -L "$(php -n -r 'echo PHP_BINARY;')" php/php
ldd php/php |
  sed -n 's/.* => \(\/[^ ]*\) (.*/\1/p' | sort -u |
  while read -r library; do
    case ${library##*/} in
      # The platform brings these, in one piece with its loader.
      libc.so.* | libdl.so.* | libm.so.* | libpthread.so.* | libresolv.so.* | librt.so.* | libutil.so.*) ;;
      *) cp -L "$library" php/lib/ ;;
    esac
  done
echo "PHP $(php -n -r 'echo PHP_VERSION;'), $(du -sh php | cut -f1)"
