#!/usr/bin/env bash
# layout.sh PROGRAMS ROOT: lays out in the empty folder ROOT what the image holds,
# from the programs built in the folder PROGRAMS. `cargo xtask image` and the
# Dockerfile both call it, so that they make the same image.
#
# The programs come with the libraries that they were linked with, and there is no
# shell and nothing else that could run.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: $0 PROGRAMS ROOT" >&2; exit 2; }
programs=$1 root=$2
certificates=/etc/ssl/certs/ca-certificates.crt
[ -f "$certificates" ] || { echo "$0: no $certificates: apt-get install ca-certificates" >&2; exit 1; }

for program in thalweg thalweg-sc thalweg-spu thalweg-operator; do
  [ -x "$programs/$program" ] || { echo "$0: no $program in $programs: cargo build --release --workspace --bins" >&2; exit 1; }
  install -D -m 755 "$programs/$program" "$root/usr/bin/$program"
  # The names of functions stay, for backtraces.
  strip --strip-debug "$root/usr/bin/$program"
  for library in $(ldd "$programs/$program" | grep -o '/[^ ]*'); do
    install -D -m 755 "$library" "$root$library"
  done
done

install -D -m 644 "$certificates" "$root$certificates"
install -d "$root/etc"
cat > "$root/etc/passwd" <<'FILE'
root:x:0:0:root:/root:/sbin/nologin
thalweg:x:65532:65532:thalweg:/tmp:/sbin/nologin
FILE
cat > "$root/etc/group" <<'FILE'
root:x:0:
thalweg:x:65532:
FILE
# Without it the C library would look into /etc/hosts only when no DNS server answers.
echo "hosts: files dns" > "$root/etc/nsswitch.conf"
install -d -m 1777 "$root/tmp"
chmod 755 "$root"
