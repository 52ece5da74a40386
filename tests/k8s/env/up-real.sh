#!/usr/bin/env bash
# up-real.sh DIR: like up.sh, but with real nodes: kubelet, kube-proxy and
# containerd run real containers, each node in a network namespace of its own
# with its own address, all of them on a bridge in the control plane's.
# Needs root and the Debian packages that it names if they are missing.
#
#   K8S_ENV_BIN    folder that build.sh filled (default: ~/.cache/thalweg/k8s-env)
#   K8S_ENV_NODES  real nodes (default: 3)
#   K8S_ENV_IMAGES image archives to load on every node, separated by spaces
#
# Nothing outside the namespaces reaches the cluster: run commands with
#   netns.sh DIR COMMAND...
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"; dir=$(cd "$1" && pwd)
bin=$(realpath -m "${K8S_ENV_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/thalweg/k8s-env}")
nodes=${K8S_ENV_NODES:-3}
began=$(date +%s%N)
[ "$(id -u)" = 0 ] || { echo "$0: needs root" >&2; exit 1; }
for need in containerd:containerd runc:runc ip:iproute2 iptables:iptables conntrack:conntrack nsenter:util-linux; do
  command -v "${need%%:*}" >/dev/null || { echo "$0: no ${need%%:*}: apt-get install -y containerd runc containernetworking-plugins iproute2 iptables conntrack" >&2; exit 1; }
done
[ -x /usr/lib/cni/bridge ] || { echo "$0: apt-get install -y containernetworking-plugins" >&2; exit 1; }
[ ! -e "$dir/pids" ] || { echo "$0: $dir is in use: run down.sh first" >&2; exit 1; }

id=$(sha256sum <<<"$dir" | cut -c1-8)
ns=k8s-env-$id state=/run/$ns
mkdir -p "$dir" "$state"
echo "$id" > "$dir/real"
trap '[ $? -eq 0 ] || "$here/down.sh" "$dir"' EXIT
fail() { echo "$0: $1" >&2; exit 1; }

# --- the network: 10.90.0.1 the control plane, 10.90.0.1N node N, 10.244.N.0/24 its pods
in_ns() { local n=$1; shift; nsenter --net="/run/netns/$n" "$@"; }
ip netns add "$ns"
ip -n "$ns" link set lo up
ip -n "$ns" link add br0 type bridge
ip -n "$ns" addr add 10.90.0.1/24 dev br0
ip -n "$ns" link set br0 up
for ((i = 0; i < nodes; i++)); do
  n=$ns-$i
  ip netns add "$n"
  ip -n "$n" link set lo up
  ip -n "$n" link add eth0 type veth peer name "node$i" netns "$ns"
  ip -n "$ns" link set "node$i" master br0 up
  ip -n "$n" addr add "10.90.0.$((10 + i))/24" dev eth0
  ip -n "$n" link set eth0 up
  ip -n "$n" route add default via 10.90.0.1
  ip -n "$ns" route add "10.244.$i.0/24" via "10.90.0.$((10 + i))"
  for ((j = 0; j < nodes; j++)); do
    [ "$i" = "$j" ] || ip -n "$n" route add "10.244.$j.0/24" via "10.90.0.$((10 + j))"
  done
  in_ns "$n" sh -c 'for k in ipv4/ip_forward bridge/bridge-nf-call-iptables ipv4/conf/all/route_localnet; do echo 1 > /proc/sys/net/$k; done'
done

# The API server and the tests reach Services as the pods do.
ip -n "$ns" route add 10.96.0.0/16 dev br0

# --- the control plane
in_ns "$ns" env K8S_ENV_BIN="$bin" K8S_ENV_NODES=0 K8S_ENV_BIND=10.90.0.1 "$here/up.sh" "$dir" >/dev/null || fail "no control plane"
server=https://10.90.0.1:$(($(cat "$dir/port") + 2))
export KUBECONFIG=$dir/kubeconfig

# --- the nodes
mkdir -p "$dir/pause/root"
install -m 755 "$bin/pause" "$dir/pause/root/pause"
"$here/image.sh" localhost/pause:1 "$dir/pause/image.tar" "$dir/pause/root" /pause
: > "$dir/resolv.conf"
credentials() { # credentials FILE SUBJECT
  openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
  openssl req -new -key "$1.key" -subj "$2" | openssl x509 -req -CA "$dir/pki/ca.crt" -CAkey "$dir/pki/ca.key" -CAcreateserial \
    -days 30 -out "$1.crt" -extfile <(printf 'keyUsage=digitalSignature\nextendedKeyUsage=clientAuth\n') 2>/dev/null
  cat > "$1" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: k8s-env, cluster: {server: "$server", certificate-authority: $dir/pki/ca.crt}}]
users: [{name: k8s-env, user: {client-certificate: $1.crt, client-key: $1.key}}]
contexts: [{name: k8s-env, context: {cluster: k8s-env, user: k8s-env}}]
current-context: k8s-env
YAML
}
run() { # run NAMESPACE NAME PROGRAM ARGUMENT...
  local n=$1 name=$2; shift 2
  printf '%q ' exec nsenter --net="/run/netns/$n" "$@" > "$dir/commands/$name"
  setsid nsenter --net="/run/netns/$n" "$@" </dev/null >"$dir/logs/$name.log" 2>&1 &
  echo $! > "$dir/pids/$name"
}
credentials "$dir/pki/kube-proxy.kubeconfig" /CN=system:kube-proxy
proxy() { # proxy NAMESPACE NAME ADDRESS NODE
  cat > "$dir/pki/$2.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $dir/pki/kube-proxy.kubeconfig}
mode: iptables
bindAddress: $3
clusterCIDR: 10.244.0.0/16
hostnameOverride: $4
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
  run "$1" "$2" "$bin/kube-proxy" --config="$dir/pki/$2.yaml"
}

# Names: pods ask CoreDNS, which runs beside the control plane.
credentials "$dir/pki/dns.kubeconfig" /O=system:masters/CN=dns
cat > "$dir/Corefile" <<CORE
.:53 {
  bind 10.90.0.1
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $dir/pki/dns.kubeconfig
    ttl 1
  }
}
CORE
run "$ns" dns "$bin/dns" -conf "$dir/Corefile"

zones=(a b c)
for ((i = 0; i < nodes; i++)); do
  n=$ns-$i at=$dir/node-$i address=10.90.0.$((10 + i)) socket=$state/$i/containerd.sock
  mkdir -p "$at/cni" "$state/$i"
  for controller in /sys/fs/cgroup/*/; do
    if [ -e "$controller/cgroup.procs" ]; then mkdir -p "$controller/$ns/$i"; fi
  done
  cat > "$at/cni/10-bridge.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": false,
   "ipam": {"type": "host-local", "dataDir": "$at/ipam", "ranges": [[{"subnet": "10.244.$i.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  cat > "$at/containerd.toml" <<TOML
version = 2
root = "$at/containerd"
state = "$state/$i"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "$socket"
[plugins."io.containerd.internal.v1.opt"]
  path = "$at/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true # where even root may not make itself less killable
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$at/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
TOML
  run "$n" "containerd-$i" containerd --config "$at/containerd.toml"
done
for ((i = 0; i < nodes; i++)); do
  n=$ns-$i at=$dir/node-$i address=10.90.0.$((10 + i)) socket=$state/$i/containerd.sock
  for _ in {1..100}; do ctr -a "$socket" version >/dev/null 2>&1 && break; sleep 0.1; done
  for image in "$dir/pause/image.tar" ${K8S_ENV_IMAGES:-}; do
    ctr -a "$socket" -n k8s.io images import "$image" >/dev/null || fail "cannot load $image"
  done
  credentials "$at/kubelet.kubeconfig" "/O=system:nodes/CN=system:node:node-$i"
  cat > "$at/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $dir/pki/ca.crt}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://$socket
cgroupDriver: cgroupfs
cgroupRoot: /$ns/$i
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: [pods]
podLogsDir: $at/pod-logs
clusterDomain: cluster.local
clusterDNS: [10.90.0.1]
resolvConf: $dir/resolv.conf
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
maxPods: 50
YAML
  run "$n" "kubelet-$i" "$bin/kubelet" --config="$at/kubelet.yaml" --kubeconfig="$at/kubelet.kubeconfig" \
    --root-dir="$at/kubelet" --cert-dir="$at/pki" --node-ip="$address" --hostname-override="node-$i" \
    --node-labels="topology.kubernetes.io/region=local,topology.kubernetes.io/zone=${zones[i % 3]}"
  proxy "$n" "kube-proxy-$i" "$address" "node-$i"
done
proxy "$ns" kube-proxy 10.90.0.1 node-0
kubectl() { in_ns "$ns" "$bin/kubectl" "$@"; }
end=$((SECONDS + 90))
until [ "$(kubectl get nodes --no-headers 2>/dev/null | wc -l)" = "$nodes" ] && kubectl wait --for=condition=Ready node --all --timeout=1s >/dev/null 2>&1; do
  for f in "$dir"/pids/*; do
    kill -0 "$(cat "$f")" 2>/dev/null || { tail -n 15 "$dir/logs/$(basename "$f").log" >&2; fail "$(basename "$f") ended"; }
  done
  [ $SECONDS -lt $end ] || { tail -n 15 "$dir"/logs/kubelet-*.log >&2; fail "nodes not Ready"; }
  sleep 0.2
done
echo "k8s-env: $server with $nodes real nodes up in $(((($(date +%s%N) - began)) / 1000000)) ms; $here/netns.sh $dir COMMAND..."
