#!/bin/busybox sh
# One HTTP request on stdin: /count answers at once, /verify first checks the whole memory pattern.
export PATH=/bin
read -r _ path _
while read -r -t 2 line && [ "${line%?}" != "" ]; do :; done
value() {
    content=
    # The writer truncates before it writes; an empty read means: look again.
    while [ -z "$content" ]; do read -r content </run/"$1"; done
}
status="200 OK"
case $path in
/count | /) ;;
/verify)
    chunk=0
    while [ $chunk -lt 64 ]; do
        [ "$(md5sum </run/mem/$chunk)" = "$(cat /run/mem.sum)" ] || echo BAD >/run/mem.state
        chunk=$((chunk + 1))
    done
    ;;
*) status="404 Not Found" ;;
esac
value start_id; start_id=$content
value disk.state; disk=$content
if [ -e /run/mem.state ]; then value mem.state; mem=$content; else mem=ok; fi
read -r nonce </proc/sys/kernel/random/uuid
value count
body="{\"count\":$content,\"start_id\":\"$start_id\",\"nonce\":\"$nonce\",\"mem\":\"$mem\",\"disk\":\"$disk\"}"
printf 'HTTP/1.0 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' \
    "$status" ${#body} "$body"
