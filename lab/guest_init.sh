#!/bin/busybox sh
# The whole user space of the test guest. What it promises is written in lab/guest.py.

/bin/busybox mkdir -p /proc /sys /dev /run /tmp /seed /sbin /usr/bin
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o size=100% run /run
ln -sf /proc/self/fd /dev/fd
exec </dev/console >/dev/console 2>&1
say() { echo "hpg-guest: $*" >/dev/console; }

# modules.order was written by the builder: dependencies come first.
while read -r module; do insmod "/modules/$module" 2>/dev/null; done </modules.order
rm -r /modules

# A fifo opened both ways never has input: reading it with a time-out sleeps without a fork.
mkfifo /run/never
exec 3<>/run/never
nap() { read -r -t "$1" _ <&3; }

option() {
    for word in $(cat /proc/cmdline); do
        case $word in "$1"=*) echo "${word#*=}" ;; esac
    done
}

start_network() {
    ip link set lo up
    [ -e /sys/class/net/eth0 ] || { echo none; return; }
    ip link set eth0 up
    net=$(option hpg.net)
    if [ -z "$net" ]; then
        udhcpc -i eth0 -n -q -t 5 -T 1 -s /udhcpc.sh >/dev/null 2>&1
        ip -4 -o addr show dev eth0 | awk '{sub("/.*", "", $4); print $4}'
        return
    fi
    IFS=: read -r _ _ _ _ e f </sys/class/net/eth0/address
    address="$net.$((0x80 | 0x$e)).$((0x$f))"
    ip addr add "$address/16" dev eth0
    ip route add default via "$net.0.1"
    echo "$address"
}

read_seed() {
    for device in /dev/sr0 /dev/vd? /dev/sd?; do
        [ -b "$device" ] || continue
        label=$(dd if="$device" bs=1 skip=32808 count=6 2>/dev/null)
        case $label in cidata | CIDATA) ;; *) continue ;; esac
        mount -t iso9660 -o ro "$device" /seed || continue
        name=$(sed -n 's/^ *"\{0,1\}\(local-\)\{0,1\}hostname"\{0,1\}: *"\{0,1\}\([A-Za-z0-9._-]*\).*/\2/p' \
            /seed/meta-data | head -n 1)
        user=$(sed -n -e 's/^ *user: *\([A-Za-z0-9._-]*\).*/\1/p' \
            -e 's/^ *- *name: *\([A-Za-z0-9._-]*\).*/\1/p' /seed/user-data | head -n 1)
        hostname "${name:-unnamed}"
        say "seed hostname=$name user=$user"
        return 0
    done
    return 1
}

# A SCSI drive shows up a while after its controller: boot does not wait for one that may not exist.
look_for_seed_again() {
    tries=0
    until read_seed || [ $tries -ge 10 ]; do
        nap 0.5
        tries=$((tries + 1))
    done
}

# The power button is an input device; its first event can only be a press.
watch_power_button() {
    for device in /sys/class/input/event*; do
        [ "$(cat "$device/device/name" 2>/dev/null)" = "Power Button" ] || continue
        (
            dd if="/dev/input/${device##*/}" of=/dev/null bs=24 count=1 2>/dev/null
            say "power button pressed"
            sync
            poweroff -f
        ) &
    done
}

# 16 MiB are filled with copies of a random block, so that a page that was lost, zeroed or taken from an
# older moment changes a sum. Once bad, always bad.
fill_memory() {
    mkdir -p /run/mem
    dd if=/dev/urandom of=/run/mem/0 bs=64k count=4 2>/dev/null
    chunk=1
    while [ $chunk -lt 64 ]; do cp /run/mem/0 "/run/mem/$chunk"; chunk=$((chunk + 1)); done
    md5sum </run/mem/0 >/run/mem.sum
    echo ok >/run/mem.state
}
check_chunk() {
    read -r expected </run/mem.sum
    md5sum <"/run/mem/$1" >/run/mem.now
    read -r found </run/mem.now
    [ "$found" = "$expected" ] || mark_bad "chunk $1"
}
mark_bad() {
    echo BAD >/run/mem.state
    say "memory BAD ($*)"
}
watch_memory() {
    chunk=0
    while :; do
        nap 1
        check_chunk $chunk
        chunk=$(((chunk + 1) % 64))
    done
}

# hpg.dirty=N rewrites N MiB a second over hpg.area MiB, with one of two blocks in turn; a sample of what
# the round before wrote is compared first, so that a stale page is found.
available_mib() { awk '/^MemAvailable/ {print int($2 / 1024)}' /proc/meminfo; }
dirty_memory() {
    area=$(option hpg.area)
    area=${area:-8}
    room=$(($(available_mib) - 12))
    [ "$area" -le $room ] || { say "hpg.area=$area is too much, taking $room"; area=$room; }
    mkdir -p /run/dirty
    for turn in 0 1; do
        dd if=/dev/urandom of=/run/block$turn bs=64k count=16 2>/dev/null
        md5sum </run/block$turn >/run/block$turn.sum
    done
    turn=0 chunk=0 round=0
    while :; do
        read -r begun _ </proc/uptime
        written=0
        while [ $written -lt "$1" ]; do
            if [ $round -gt 0 ] && [ $written = 0 ]; then
                [ "$(md5sum <"/run/dirty/$chunk")" = "$(cat /run/block$((1 - turn)).sum)" ] ||
                    mark_bad "dirty chunk $chunk"
            fi
            dd if=/run/block$turn of="/run/dirty/$chunk" bs=1M conv=notrunc 2>/dev/null
            written=$((written + 1)) chunk=$((chunk + 1))
            [ $chunk -lt "$area" ] || { chunk=0 turn=$((1 - turn)) round=$((round + 1)); }
        done
        read -r ended _ </proc/uptime
        left=$((100 - ${ended%.*}${ended#*.} + ${begun%.*}${begun#*.}))
        [ $left -le 0 ] || nap "$(printf '%d.%02d' $((left / 100)) $((left % 100)))"
    done
}

# The disk gets the count at byte 4096, once a second; what an earlier life left there is shown at boot.
disk_state=none
find_disk() {
    [ -b /dev/vda ] && [ "$(cat /sys/block/vda/ro)" = 0 ] || return
    disk_state=ok
    say "disk last $(dd if=/dev/vda bs=4096 skip=1 count=1 2>/dev/null | tr -dc 'a-z0-9=')"
}
write_disk() {
    echo "count=$1" >/run/sector
    dd if=/run/sector of=/dev/vda bs=4096 seek=1 conv=sync,notrunc,fsync 2>/dev/null
    dd if=/dev/vda of=/run/back iflag=direct bs=4096 skip=1 count=1 2>/dev/null
    read -r read_back </run/back
    state=ok
    [ "$read_back" = "count=$1" ] || state=BAD
    [ $state = $disk_state ] || { disk_state=$state; echo $state >/run/disk.state; }
}
watch_disk() {
    while :; do
        nap 1
        # The counter truncates before it writes; an empty read is made up for a second later.
        read -r now_counted </run/count && write_disk "$now_counted"
    done
}

start_id=$(od -An -N 8 -t x1 /dev/urandom | tr -d ' \n')
echo "$start_id" >/run/start_id
echo 0 >/run/count
address=$(start_network)
find_disk
echo $disk_state >/run/disk.state
read_seed || { look_for_seed_again & }
say "booted start_id=$start_id ip=${address:-none}"
watch_power_button
fill_memory
watch_memory &
[ $disk_state = none ] || watch_disk &
say "ready available_mib=$(available_mib)"
rate=$(option hpg.dirty)
[ "${rate:-0}" = 0 ] || dirty_memory "$rate" &
nc -ll -p 80 -e /serve.sh >/dev/null 2>&1 &

count=0
centiseconds() { read -r up _ </proc/uptime; now=${up%.*}${up#*.}; }
centiseconds
next=$now
while :; do
    next=$((next + 10))
    centiseconds
    left=$((next - now))
    # After a long pause (a migration, a suspended guest) go on from now instead of catching up.
    [ $left -ge -100 ] || { next=$now left=0; }
    [ $left -le 0 ] || nap "0.$((left / 10))$((left % 10))"
    count=$((count + 1))
    echo $count >/run/count
    [ $((count % 10)) != 0 ] || echo "hpg-guest: count=$count"
done
