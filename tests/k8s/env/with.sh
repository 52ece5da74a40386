#!/usr/bin/env bash
# with.sh simulated|real COMMAND...: starts an instance, runs the command against
# it, and takes the instance down however the command ends. The command finds
# kubectl, helm and the others in its PATH, and these variables:
#
#   KUBECONFIG     of a cluster admin
#   K8S_ENV_DIR    the instance's folder, for the scripts beside this one
#   K8S_ENV_KIND   simulated or real
#
# With real nodes the command runs inside their network, as netns.sh does it.
# The logs of the instance are kept where the command fails.
set -uo pipefail
usage() { echo "usage: $0 simulated|real COMMAND..." >&2; exit 2; }
[ $# -ge 2 ] || usage
case "$1" in
  simulated) up=up.sh ;;
  real) up=up-real.sh ;;
  *) usage ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
kind=$1; shift
dir=$(mktemp -d "${TMPDIR:-/tmp}/thalweg-k8s.XXXXXX")
status=1
finish() {
  "$here/down.sh" "$dir"
  if [ "$status" -eq 0 ]; then rm -rf "$dir"; else echo "k8s-env: the instance's logs are in $dir/logs" >&2; fi
  exit "$status"
}
trap finish EXIT
# The shell goes on after these once the command has ended, and then takes down.
trap 'status=130' INT
trap 'status=143' TERM HUP
"$here/$up" "$dir" || exit
# shellcheck disable=SC1091
source "$dir/env"
export K8S_ENV_DIR=$dir K8S_ENV_KIND=$kind
if [ "$kind" = real ]; then "$here/netns.sh" "$dir" "$@"; else "$@"; fi
status=$?
