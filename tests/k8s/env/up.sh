#!/usr/bin/env bash
# up.sh DIR: starts a Kubernetes control plane and simulated nodes, all on
# 127.0.0.1, and writes DIR/kubeconfig. Every instance needs its own DIR.
#
# Settings, by environment:
#   K8S_ENV_BIN    folder that build.sh filled (default: ~/.cache/thalweg/k8s-env)
#   K8S_ENV_NODES  simulated nodes, 0 for none (default: 3)
#   K8S_ENV_PORT   first of the six ports it takes (default: picked)
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"; dir=$(cd "$1" && pwd)
bin=$(realpath -m "${K8S_ENV_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/thalweg/k8s-env}")
nodes=${K8S_ENV_NODES:-3}
# The real node's script sets these: it runs the same control plane inside a
# network namespace, where pods must be able to reach the API server.
bind=${K8S_ENV_BIND:-127.0.0.1}
began=$(date +%s%N)
[ -x "$bin/kube" ] || { echo "$0: no programs in $bin: run build.sh" >&2; exit 1; }
[ ! -e "$dir/pids" ] || { echo "$0: $dir is in use: run down.sh first" >&2; exit 1; }
trap '[ $? -eq 0 ] || "$here/down.sh" "$dir"' EXIT
mkdir -p "$dir"/{pids,logs,pki,commands}

# --- ports: a folder made with mkdir reserves a block against other instances
ports=/tmp/k8s-env-ports; mkdir -p "$ports"
free() {
  local p
  for p in {0..5}; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$(($1 + p))") 2>/dev/null; then return 1; fi
  done
}
if [ -n "${K8S_ENV_PORT:-}" ]; then
  base=$K8S_ENV_PORT; mkdir -p "$ports/$base"
else
  for _ in {1..200}; do
    base=$((20000 + RANDOM % 1200 * 10))
    if mkdir "$ports/$base" 2>/dev/null; then
      if free "$base"; then break; fi
      rmdir "$ports/$base"
    fi
    base=
  done
  [ -n "$base" ] || { echo "$0: no free ports (see $ports)" >&2; exit 1; }
fi
echo "$base" > "$dir/port"
etcd=$base peer=$((base + 1)) api=$((base + 2)) kcm=$((base + 3)) sched=$((base + 4)) fake=$((base + 5))
server=https://$bind:$api

# --- keys and certificates
cd "$dir/pki"
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
key ca
openssl req -x509 -new -key ca.key -subj /CN=k8s-env -days 30 -out ca.crt \
  -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign
sign() { # sign NAME SUBJECT EXTENSION...
  local name=$1 subject=$2; shift 2
  key "$name"
  openssl req -new -key "$name.key" -subj "$subject" |
    openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$name.crt" \
      -extfile <(printf '%s\n' keyUsage=digitalSignature "$@") 2>/dev/null
}
sign apiserver /CN=kube-apiserver extendedKeyUsage=serverAuth \
  "subjectAltName=IP:127.0.0.1,IP:$bind,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
key service-account
openssl ec -in service-account.key -pubout -out service-account.pub 2>/dev/null
kubeconfig() { # kubeconfig FILE SUBJECT
  local name; name=$(basename "$1")
  sign "client-$name" "$2" extendedKeyUsage=clientAuth
  cat > "$1" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: k8s-env
  cluster: {server: "$server", certificate-authority-data: $(base64 -w0 ca.crt)}
users:
- name: k8s-env
  user: {client-certificate-data: $(base64 -w0 "client-$name.crt"), client-key-data: $(base64 -w0 "client-$name.key")}
contexts:
- name: k8s-env
  context: {cluster: k8s-env, user: k8s-env}
current-context: k8s-env
YAML
  chmod 600 "$1"
}
kubeconfig "$dir/kubeconfig" /O=system:masters/CN=admin
kubeconfig controller-manager.kubeconfig /CN=system:kube-controller-manager
kubeconfig scheduler.kubeconfig /CN=system:kube-scheduler
kubeconfig kwok.kubeconfig /O=system:masters/CN=kwok
kubeconfig disks.kubeconfig /O=system:masters/CN=disks
cd "$dir"

# --- the programs
run() { # run NAME PROGRAM ARGUMENT...
  local name=$1; shift
  printf '%q ' exec "$@" > "$dir/commands/$name"
  setsid "$@" </dev/null >"$dir/logs/$name.log" 2>&1 &
  echo $! > "$dir/pids/$name"
}
fail() {
  echo "$0: $1; the last lines of the logs:" >&2
  tail -n 5 "$dir"/logs/*.log >&2 || true
  exit 1
}
until_ok() { # until_ok SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2 f; shift 2
  until "$@" >/dev/null 2>&1; do
    for f in "$dir"/pids/*; do kill -0 "$(cat "$f")" 2>/dev/null || fail "$(basename "$f") ended"; done
    [ $SECONDS -lt $end ] || fail "$what not ready"
    sleep 0.1
  done
}

run etcd "$bin/etcd" --name=k8s-env --data-dir="$dir/etcd" --unsafe-no-fsync --log-level=warn \
  --listen-client-urls="http://127.0.0.1:$etcd" --advertise-client-urls="http://127.0.0.1:$etcd" \
  --listen-peer-urls="http://127.0.0.1:$peer" --initial-advertise-peer-urls="http://127.0.0.1:$peer" \
  --initial-cluster="k8s-env=http://127.0.0.1:$peer"
reconciler=(--endpoint-reconciler-type=none)
[ "$bind" = 127.0.0.1 ] || reconciler=(--advertise-address="$bind")
run kube-apiserver "$bin/kube-apiserver" --bind-address="$bind" --secure-port="$api" "${reconciler[@]}" \
  --etcd-servers="http://127.0.0.1:$etcd" --service-cluster-ip-range=10.96.0.0/16 \
  --cert-dir="$dir/pki" --tls-cert-file="$dir/pki/apiserver.crt" --tls-private-key-file="$dir/pki/apiserver.key" \
  --client-ca-file="$dir/pki/ca.crt" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
  --kubelet-preferred-address-types=InternalIP --kubelet-client-certificate="$dir/pki/client-kubeconfig.crt" --kubelet-client-key="$dir/pki/client-kubeconfig.key" \
  --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$dir/pki/service-account.pub" \
  --service-account-signing-key-file="$dir/pki/service-account.key" --allow-privileged=true \
  --audit-policy-file="$here/audit.yaml" --audit-log-path="$dir/logs/audit.jsonl"
export KUBECONFIG=$dir/kubeconfig
kubectl=$bin/kubectl
until_ok 60 kube-apiserver "$kubectl" get --raw /readyz
run kube-controller-manager "$bin/kube-controller-manager" --kubeconfig="$dir/pki/controller-manager.kubeconfig" \
  --authentication-kubeconfig="$dir/pki/controller-manager.kubeconfig" --authorization-kubeconfig="$dir/pki/controller-manager.kubeconfig" \
  --bind-address=127.0.0.1 --secure-port="$kcm" --cert-dir="$dir/pki/controller-manager" --leader-elect=false \
  --use-service-account-credentials --root-ca-file="$dir/pki/ca.crt" \
  --service-account-private-key-file="$dir/pki/service-account.key" \
  --cluster-signing-cert-file="$dir/pki/ca.crt" --cluster-signing-key-file="$dir/pki/ca.key" \
  --node-monitor-grace-period=20s --node-monitor-period=2s \
  --kube-api-qps=200 --kube-api-burst=400
run kube-scheduler "$bin/kube-scheduler" --kubeconfig="$dir/pki/scheduler.kubeconfig" \
  --authentication-kubeconfig="$dir/pki/scheduler.kubeconfig" --authorization-kubeconfig="$dir/pki/scheduler.kubeconfig" \
  --bind-address=127.0.0.1 --secure-port="$sched" --cert-dir="$dir/pki/scheduler" --leader-elect=false \
  --kube-api-qps=200 --kube-api-burst=400
"$kubectl" apply -f "$here/storage-classes.yaml" >/dev/null
run disks "$bin/disks" --kubeconfig="$dir/pki/disks.kubeconfig" --dir="$dir/disks"
if [ "$nodes" -gt 0 ]; then
  run kwok "$bin/kwok" --kubeconfig="$dir/pki/kwok.kubeconfig" --config="$here/kwok.yaml" \
    --manage-nodes-with-label-selector=k8s-env/alive --node-lease-duration-seconds=20 \
    --cidr=10.64.0.0/16 --server-address="127.0.0.1:$fake"
  zones=(a b c)
  for ((i = 0; i < nodes; i++)); do
    cat <<YAML
---
apiVersion: v1
kind: Node
metadata:
  name: node-$i
  labels:
    k8s-env/alive: "true"
    kubernetes.io/hostname: node-$i
    kubernetes.io/os: linux
    kubernetes.io/arch: amd64
    topology.kubernetes.io/region: local
    topology.kubernetes.io/zone: ${zones[i % 3]}
status:
  capacity: {cpu: "8", memory: 32Gi, pods: "110", ephemeral-storage: 100Gi}
  allocatable: {cpu: "8", memory: 32Gi, pods: "110", ephemeral-storage: 100Gi}
YAML
  done | "$kubectl" create -f - >/dev/null
  until_ok 60 nodes "$kubectl" wait --for=condition=Ready node --all --timeout=1s
fi
until_ok 60 kube-controller-manager "$kubectl" get serviceaccount default
until_ok 60 kube-scheduler bash -c "exec 3<>/dev/tcp/127.0.0.1/$sched"
cat > "$dir/env" <<SH
export KUBECONFIG=$dir/kubeconfig
export PATH=$bin:\$PATH
SH
echo "k8s-env: $server up in $(((($(date +%s%N) - began)) / 1000000)) ms; source $dir/env"
