#!/usr/bin/env bash
# benches/peers/redis.sh FOLDER PORT REQUESTS: what Redis makes durable per second with 64 requests
# of 200 B in flight, each flushed before it is answered (appendfsync always), data in FOLDER.
# Prints two numbers: on one connection (pipelined), and on 64 with one request each.
set -euo pipefail
readonly folder=$1/redis-peer port=$2 requests=$3

mkdir -p "$folder"
redis-server --port "$port" --bind 127.0.0.1 --dir "$folder" --save '' \
    --appendonly yes --appendfsync always --no-appendfsync-on-rewrite no >"$folder/log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf "$folder"' EXIT
until redis-cli -p "$port" ping >/dev/null 2>&1; do sleep 0.05; done

# CONNECTIONS PIPELINE: requests per second.
ask() {
    redis-benchmark -p "$port" -c "$1" -P "$2" -n "$requests" -d 200 -r 100000 -t set -q |
        tr '\r' '\n' | awk '/requests per second/ { rate = $2 } END { print rate }'
}
ask 1 64 >"$folder/warm-up"
echo "$(ask 1 64) $(ask 64 1)"
