#!/usr/bin/env bash
# benches/table.sh [ROW...]: measures the rows of README's table on this machine, each against the
# floor of the same run, and prints them as a table. Without ROW: all of them, about half an hour.
#
#   cargo build --release && benches/table.sh ping pipelined
#
#   FOLDER=…   on the disk to measure (default: target); needs 30 GB for `restart` and `bandwidth`
#   PORT=…     the first of 400 ports to use (default 19000)
#   MINUTES=…  how long `memory` loads the server (default 10), with RATE=… records/s (5000)
#
# Nothing else should run: a busy machine bends every one of these figures. A rented disk may slow
# down after some ten GB: look at what `chiplog floor` says before and after.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly rows=(ready ping relay pipelined deep bandwidth partitions catchup restart allocations memory)
readonly chiplog=${CHIPLOG:-target/release/chiplog}
readonly folder=${FOLDER:-target} port=${PORT:-19000} minutes=${MINUTES:-10} rate=${RATE:-5000}
readonly node=127.0.0.1:$port core=127.0.0.1:$((port + 100)) admin=127.0.0.1:$((port + 300))
readonly rounds=3
server= table=()

# --- the server ------------------------------------------------------------------------------

begin() {
    data=$(mktemp -d -p "$folder" chiplog-table-XXXXXX)
    log=$data.log
    : >"$log"
    start "$@"
}

# ARGS of serve, over whatever is in the folder.
start() {
    "$chiplog" serve --data "$data" --listen "$node" --core-listen "$core" --admin "$admin" "$@" \
        >"$log" 2>&1 &
    server=$!
    until grep -q '^ready' "$log"; do
        kill -0 "$server" 2>/dev/null || { cat "$log"; exit 1; }
        sleep 0.01
    done
}

stop() {
    kill "$server"
    wait "$server" || true
    server=
}

finish() {
    [[ -z $server ]] || stop
    rm -rf "$data" "$log"
}
trap '[[ -z $server ]] || { kill "$server"; wait "$server" || true; rm -rf "$data" "$log"; }' EXIT

# NAME with its labels: the value of a metric now.
metric() { curl -sf "http://$admin/metrics" | awk -v name="$1" '$1 == name { print $2 }'; }
rss_mib() { awk '/^VmRSS/ { printf "%d", $2 / 1024 }' "/proc/$server/status"; }

# --- the load --------------------------------------------------------------------------------

bench() { "$chiplog" bench --json --floor "$folder" "$@"; }
produce() { bench --no-floor --bootstrap "$core" "$@"; }
get() { jq -r "$1"; }
# EXPRESSION: its value with three digits.
calculate() { awk "BEGIN { printf \"%.3g\", $1 }"; }
median() { sort -g | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
# VALUE RELATION GOAL
judge() { awk "BEGIN { exit !($1 $2 $3) }" && echo yes || echo no; }
note() { echo "  $*" >&2; }

# WHAT GOAL MEASURED REACHED
row() {
    table+=("| $1 | $2 | $3 | $4 |")
    note "$1: $3 (goal: $2; reached: $4)"
}

# --- the rows --------------------------------------------------------------------------------

measure_ready() {
    local seconds=()
    for _ in $(seq $rounds); do
        begin
        seconds+=("$(awk '/^ready/ { print $3 }' "$log")")
        finish
    done
    # The slowest: only the first finds memory that the machine has not handed out lately.
    local worst
    worst=$(printf '%s\n' "${seconds[@]}" | sort -g | tail -1)
    note "starts: ${seconds[*]} s"
    row "first start of a new folder, ready" "< 2 s" "$worst s" "$(judge "$worst" '<' 2)"
}

measure_ping() {
    begin
    local result p50 p99
    result=$(bench ping --bootstrap "$core" --answers 10000)
    finish
    p50=$(get .p50_ratio <<<"$result") p99=$(get .p99_ratio <<<"$result")
    note "$(get '"p50 \(.latency.p50_us) us over \(.floor.p50_us), p99 \(.latency.p99_us) over \(.floor.p99_us)"' <<<"$result")"
    row "durable ack, 200 B, one in flight, core view" "p50 ≤ 1.25 ×, p99 ≤ 1.5 × the floor" \
        "$(calculate "$p50") ×, $(calculate "$p99") ×" \
        "$(judge "$p50" '<=' "1.25 && $p99 <= 1.5")"
}

# Which core accepts a connection is the kernel's choice: tried until the messages between cores
# say that each request was relayed.
measure_relay() {
    local result mails before
    begin --cores 2 --shards 2 --poll park
    for _ in $(seq 20); do
        before=$(metric 'chiplog_mail_out_total{core="0"}')
        result=$(bench ping --bootstrap "$node" --topic relayed --partitions 2 --only 0 \
            --poll park --park --answers 5000)
        mails=$(($(metric 'chiplog_mail_out_total{core="0"}') - before))
        ((5000 <= mails)) && break
    done
    finish
    ((5000 <= mails)) || { echo "no connection was relayed"; exit 1; }
    local p50 instructions
    p50=$(get .p50_ratio <<<"$result")
    instructions=$(awk '/^node view/ { print $NF }' benches/instructions.txt)
    note "$(get '"p50 \(.latency.p50_us) us over \(.floor.p50_us), p99 \(.latency.p99_us) over \(.floor.p99_us)"' <<<"$result")"
    row "the same, node view through a relay, parked" "≤ 1.3 × the parked floor" \
        "p50 $(calculate "$p50") ×, p99 $(get .p99_ratio <<<"$result" | xargs printf %.2f) ×; $instructions instructions" \
        "$(judge "$p50" '<=' 1.3)"
}

# Each round is a ratio of its own: the device is not the same from one to the next. Beside it what
# the device allows: 64 in flight, each of which waits for one durable write of 16 KiB.
measure_pipelined() {
    local ours crowd peer device lines=()
    begin
    note "filling until every file is made"
    produce flood --topic warm --in-flight 1024 --connections 4 --seconds 15 >/dev/null
    for _ in $(seq 5); do
        ours=$(produce flood --in-flight 64 --seconds 3 | get .records_per_second)
        peer=$(benches/peers/redis.sh "$folder" $((port + 399)) 100000)
        crowd=$(produce flood --in-flight 1 --connections 64 --seconds 3 | get .records_per_second)
        device=$("$chiplog" floor --json --seconds 0.2 --folder "$folder" |
            get '.writes[] | select(.depth == 1 and .bytes == 16384) | .per_second')
        lines+=("$ours ${peer% *} $crowd ${peer#* } $device")
        note "64 on one connection: $ours/s, Redis ${peer% *}; 64 connections: $crowd/s, Redis ${peer#* }; 16 KiB writes: $device/s"
    done
    finish
    local one many reached
    one=$(printf '%s\n' "${lines[@]}" | awk '{ print $1 / $2 }' | median)
    many=$(printf '%s\n' "${lines[@]}" | awk '{ print $3 / $4 }' | median)
    reached=$(printf '%s\n' "${lines[@]}" | awk '{ print $1 / (64 * $5) }' | median)
    row "one partition, 200 B, 64 in flight" "≥ 5 × Redis appendfsync-always" \
        "$(calculate "$one") × on one connection, $(calculate "$many") × on 64; $(calculate "$reached") of 64 × the device's 16 KiB writes" \
        "$(judge "$one" '>=' "5 && $many >= 5")"
}

measure_deep() {
    local each=()
    begin
    for _ in $(seq $rounds); do
        each+=("$(produce flood --in-flight 1024 --connections 4 --seconds 5 | get .records_per_second)")
    done
    finish
    local middle
    middle=$(printf '%s\n' "${each[@]}" | median)
    note "records/s: ${each[*]}"
    row "the same, 4 × 1024 in flight, one core" "≥ 250 k records/s" \
        "$(calculate "$middle / 1000") k/s" "$(judge "$middle" '>=' 250000)"
}

device_mb() { "$chiplog" floor --json --seconds 0.5 --folder "$folder" | get '.writes[-1].megabytes_per_second'; }

measure_bandwidth() {
    local before result written devices=() rates=() load
    load=(flood --topic bulk --record-bytes 1000 --batch 1000 --in-flight 8)
    begin
    "$chiplog" topic create bulk --set retention.bytes=1073741824 --bootstrap "$node" >/dev/null
    note "filling until every file is made"
    for _ in $(seq 3); do
        before=$(metric 'chiplog_files_created_total{core="0"}')
        produce "${load[@]}" --seconds 5 >/dev/null
        [[ $(metric 'chiplog_files_created_total{core="0"}') == "$before" ]] && break
    done
    local records=0
    before=$(metric 'chiplog_disk_written_bytes_total{core="0"}')
    for _ in $(seq $rounds); do
        devices+=("$(device_mb)")
        result=$(produce "${load[@]}" --seconds 5)
        rates+=("$(get .megabytes_per_second <<<"$result")")
        # The warm-up of a tenth is not in the report, but in the metric.
        records=$(awk "BEGIN { print $records + $(get '.records_per_second * .seconds * 1.1' <<<"$result") }")
    done
    devices+=("$(device_mb)")
    sleep 2
    written=$(($(metric 'chiplog_disk_written_bytes_total{core="0"}') - before))
    finish
    local moved device amplification share
    moved=$(printf '%s\n' "${rates[@]}" | median) device=$(printf '%s\n' "${devices[@]}" | median)
    amplification=$(calculate "$written / ($records * 1000)")
    share=$(calculate "$moved / ($device / $amplification)")
    note "MB/s of records: ${rates[*]}; the device: ${devices[*]}"
    row "1000 B × 1000 per batch" "≥ 0.8 × device bandwidth ÷ write amplification" \
        "$share × ($(calculate "$moved") MB/s; device $device MB/s, amplification $amplification)" \
        "$(judge "$share" '>=' 0.8)"
}

measure_partitions() {
    local one=() many=() small large
    begin --shards 1
    produce ping --topic one --answers 100 >/dev/null
    produce rate --per-second 5000 --seconds 3 --topic one >/dev/null
    small=$(rss_mib)
    produce rate --per-second 5000 --seconds 5 --topic many --partitions 10000 >/dev/null
    for _ in $(seq $rounds); do
        one+=("$(produce rate --per-second 5000 --seconds 8 --topic one | get .latency.p99_us)")
        many+=("$(produce rate --per-second 5000 --seconds 8 --topic many --partitions 10000 | get .latency.p99_us)")
    done
    large=$(rss_mib)
    finish
    local few lots ratio
    few=$(printf '%s\n' "${one[@]}" | median) lots=$(printf '%s\n' "${many[@]}" | median)
    ratio=$(calculate "$lots / $few")
    note "p99 in us with 1 partition: ${one[*]}; with 10,000: ${many[*]}"
    row "1 → 10,000 partitions on one shard, 5,000 records/s" "p99 ≤ 1.2 ×" \
        "$ratio ×; resident $small → $large MiB" "$(judge "$ratio" '<=' 1.2)"
}

measure_catchup() {
    local alone=() beside=() before read
    begin
    produce flood --topic history --record-bytes 1000 --batch 1000 --in-flight 4 --seconds 8 >/dev/null
    for _ in $(seq 60); do
        (($(metric 'chiplog_destaged_bytes_total{shard="0"}') > 200000000)) && break
        sleep 1
    done
    produce rate --topic live --per-second 2000 --seconds 3 --park >/dev/null
    for _ in $(seq $rounds); do
        alone+=("$(produce rate --topic live --per-second 2000 --seconds 8 --park | get .latency.p99_us)")
        before=$(metric 'chiplog_bin_read_bytes_total{shard="0"}')
        # What the consumer does with its records should not take the CPU from the other client.
        nice -n 19 "$chiplog" consume history --bootstrap "$core" >/dev/null 2>&1 &
        local consumer=$!
        beside+=("$(produce rate --topic live --per-second 2000 --seconds 8 --park | get .latency.p99_us)")
        read=$(($(metric 'chiplog_bin_read_bytes_total{shard="0"}') - before))
        kill "$consumer" 2>/dev/null || true
        wait "$consumer" 2>/dev/null || true
        note "$((read >> 20)) MiB were read from bins meanwhile"
    done
    finish
    local calm busy ratio
    calm=$(printf '%s\n' "${alone[@]}" | median) busy=$(printf '%s\n' "${beside[@]}" | median)
    ratio=$(calculate "$busy / $calm")
    note "producers' p99 in us, alone: ${alone[*]}; beside a consumer: ${beside[*]}"
    row "a consumer catches up from bins ($((read >> 23)) MiB/s) while producers run" "producers' p99 ≤ 1.5 ×" \
        "$ratio ×" "$(judge "$ratio" '<=' "1.5 && 0 < $read")"
}

measure_restart() {
    local gigabytes=0 before
    begin
    note "filling with 10 GB"
    for _ in $(seq 20); do
        produce flood --topic bulk --record-bytes 1000 --batch 1000 --in-flight 8 --seconds 5 >/dev/null
        gigabytes=$(($(metric 'chiplog_received_bytes_total{core="0"}') / 1000000000))
        ((10 <= gigabytes)) && break
    done
    produce flood --in-flight 64 --seconds 60 >/dev/null 2>&1 &
    local client=$!
    sleep 3
    kill -9 "$server"
    wait "$server" 2>/dev/null || true
    wait "$client" || true
    # Warm: the device's own cache must not speak for one of the two alone.
    local bytes seconds=() read_seconds=()
    bytes=$(cat "$data"/shard-0/journal/*.segment | wc -c)
    for _ in $(seq $rounds); do
        before=$(date +%s.%N)
        for segment in "$data"/shard-0/journal/*.segment; do
            dd if="$segment" of=/dev/null bs=1M iflag=direct status=none
        done
        read_seconds+=("$(calculate "$(date +%s.%N) - $before")")
        before=$(date +%s.%N)
        start
        seconds+=("$(calculate "$(date +%s.%N) - $before")")
        note "$(grep '^recovery  shard 0' "$log")"
        kill -9 "$server"
        wait "$server" 2>/dev/null || true
    done
    server=
    finish
    local took reading goal
    took=$(printf '%s\n' "${seconds[@]}" | median) reading=$(printf '%s\n' "${read_seconds[@]}" | median)
    goal=$(calculate "1.3 * $reading + 0.3")
    note "journal of $((bytes >> 20)) MiB read in ${read_seconds[*]} s; serving after ${seconds[*]} s"
    row "restart after kill -9, $gigabytes GB in the log" \
        "≤ 1.3 × (journal ÷ read bandwidth) + 300 ms = $goal s" "$took s" \
        "$(judge "$took" '<=' "$goal")"
}

# Producers, and a consumer that follows them: what the core took from the heap between two looks.
measure_allocations() {
    local taken requests
    begin
    produce flood --in-flight 64 --seconds 25 >/dev/null &
    local client=$!
    "$chiplog" consume chiplog-bench --follow --from end --bootstrap "$core" >/dev/null 2>&1 &
    local consumer=$!
    sleep 12
    taken=$(metric 'chiplog_core_allocations_total{core="0"}') requests=$(metric 'chiplog_receives_total{core="0"}')
    sleep 10
    taken=$(($(metric 'chiplog_core_allocations_total{core="0"}') - taken))
    requests=$(($(metric 'chiplog_receives_total{core="0"}') - requests))
    wait "$client"
    kill "$consumer" 2>/dev/null || true
    wait "$consumer" 2>/dev/null || true
    finish
    row "allocations on the data core in steady state" "0 per request" \
        "$taken while $requests receives brought requests" "$(judge "$taken / $requests" '<' 0.001)"
}

measure_memory() {
    begin
    grep '^memory' "$log" >&2
    local series=() limit=$((minutes * 60))
    produce rate --per-second "$rate" --seconds "$limit" --partitions 100 --topic steady --park >/dev/null &
    local client=$!
    "$chiplog" consume steady --follow --bootstrap "$node" >/dev/null 2>&1 &
    local consumer=$!
    for _ in $(seq "$minutes"); do
        sleep 58
        series+=("$(rss_mib)")
        note "resident: ${series[-1]} MiB"
    done
    wait "$client"
    kill "$consumer" 2>/dev/null || true
    wait "$consumer" 2>/dev/null || true
    finish
    local first=${series[1]:-${series[0]}} last=${series[-1]}
    row "memory after 2 and after $minutes minutes of $rate records/s and a consumer" "bounded; does not grow" \
        "$first → $last MiB (each minute: ${series[*]})" "$(judge "$last" '<=' "1.02 * $first")"
}

for name in "${@:-${rows[@]}}"; do
    echo "=== $name" >&2
    "measure_$name"
done
echo
echo "| what | goal | measured | reached |"
echo "| --- | --- | --- | --- |"
printf '%s\n' "${table[@]}"
