#!/bin/busybox sh
# PID 1 of a guest. Each section says its name, what was seen, and its exit code; vm_test.rs judges.
export PATH=/tools:/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t bpf bpf /sys/fs/bpf
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
ln -s /run /var/run
for module in /modules/*.ko; do insmod "$module"; done
mkdir -p /dev/net
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
/tools/ip link set lo up
# Whom the guest talks to. By path: this shell prefers busybox's own `ip`, which knows no veth.
/tools/ip netns add peer
/tools/ip link add va type veth peer name vb netns peer
/tools/ip addr add 10.9.0.1/24 dev va
/tools/ip link set va up
/tools/ip -n peer addr add 10.9.0.2/24 dev vb
/tools/ip -n peer link set vb up

section() {
    echo "=== $1"
    shift
    "$@"
    echo "=== end exit $?"
}

# Starts the program; returns when its start record says that it is attached.
start_watching() {
    # The file of the watcher before this one has a start record too.
    rm -f /tmp/records
    handshake watch --format json "$@" >/tmp/records 2>/tmp/words &
    watcher=$!
    tries=0
    until grep -q '"start"' /tmp/records 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 3000 ] || return 1
        sleep 0.1
    done
}

# One connection from here to a server of the peer (or of this machine), watched.
one_handshake() {
    address=$1
    where=$2
    shift 2
    $where nc -l -p 8080 </dev/null >/dev/null &
    start_watching --count 1 --duration 20s "$@"
    echo hello | nc -w 2 "$address" 8080
    wait $watcher
    code=$?
    cat /tmp/records /tmp/words
    return $code
}

programs() {
    echo "programs $1: $(bpftool prog show | grep -c ' name hs_')"
}

# SIGKILL, and what it leaves.
killed() {
    start_watching -i va || return 1
    programs watching
    kill -KILL $watcher
    wait $watcher
    sleep 1
    programs killed
    handshake cleanup 2>&1
    code=$?
    sleep 1
    programs cleaned
    return $code
}

# Ends the line that the firmware began.
echo
section version uname -v
section verify handshake verify
section lo one_handshake 127.0.0.1 "" -i lo
section veth one_handshake 10.9.0.2 "/tools/ip netns exec peer" -i va
section veth-xdp one_handshake 10.9.0.2 "/tools/ip netns exec peer" -i va --hook xdp
section killed killed
cd /tmp
# The suite's check of itself, which makes a disagreement, is for the host.
export CARGO_MANIFEST_DIR=/tests HANDSHAKE_STRIDE=150
section attach /suites/attach --test-threads=1 $(cat /suites/attach.arguments)
section prog_run /suites/prog_run --test-threads=1 --show-output --skip a_difference
poweroff -f
