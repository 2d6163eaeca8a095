"""kafka-python: an idempotent producer, then a consumer of both partitions."""

import sys

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, compression_type="gzip")
futures = [
    producer.send(topic, key=b"key %d" % number, value=b"value %d" % number, partition=number % 2)
    for number in range(count)
]
producer.flush(timeout=60)
offsets = [(future.get(timeout=60).partition, future.get().offset) for future in futures]
assert offsets == [(number % 2, number // 2) for number in range(count)], "acked offsets are dense and in order"

consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=60_000)
partitions = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
consumer.assign(partitions)
consumer.seek_to_beginning(*partitions)
seen = {}
for message in consumer:
    number = message.offset * 2 + message.partition
    assert (message.key, message.value) == (b"key %d" % number, b"value %d" % number), message
    assert number not in seen
    seen[number] = True
    if len(seen) == count:
        break
assert len(seen) == count, f"only {len(seen)} of {count} arrived"
ends = consumer.end_offsets(partitions)
assert sum(ends.values()) == count, ends
print("ok", count)
