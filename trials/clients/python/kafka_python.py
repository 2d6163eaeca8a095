"""kafka-python: idempotent producers of every codec, then a consumer of both partitions."""

import sys
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

CODECS = [None, "gzip", "snappy", "lz4", "zstd"]

bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
start = int(time.time() * 1000) - 60_000
partitions = [TopicPartition(topic, 0), TopicPartition(topic, 1)]


def produce(codec, numbers):
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, compression_type=codec, linger_ms=5
    )
    futures = [
        producer.send(
            topic,
            key=b"key %d" % number,
            value=b"value %d" % number,
            headers=[("number", b"%d" % number)],
            partition=number % 2,
            timestamp_ms=start + number,
        )
        for number in numbers
    ]
    producer.flush(timeout=60)
    offsets = [(future.get(timeout=60).partition, future.get().offset) for future in futures]
    assert offsets == [(number % 2, number // 2) for number in numbers], "acked offsets are dense and in order"
    producer.close()


def consume(consumer):
    seen = set()
    for message in consumer:
        number = message.offset * 2 + message.partition
        assert (message.key, message.value) == (b"key %d" % number, b"value %d" % number), message
        assert list(message.headers) == [("number", b"%d" % number)], message
        assert message.timestamp == start + number, message
        assert number not in seen
        seen.add(number)
        if len(seen) == count:
            return
    raise AssertionError(f"only {len(seen)} of {count} arrived")


def list_offsets(consumer):
    assert set(consumer.beginning_offsets(partitions).values()) == {0}
    assert consumer.end_offsets(partitions) == {partition: count // 2 for partition in partitions}
    middle = consumer.offsets_for_times({partition: start + count // 2 for partition in partitions})
    for partition, found in middle.items():
        number = next(n for n in range(count // 2, count) if n % 2 == partition.partition)
        assert (found.offset, found.timestamp) == (number // 2, start + number), (partition, found)
    before = consumer.offsets_for_times({partition: start - 1000 for partition in partitions})
    assert [found.offset for found in before.values()] == [0, 0], before
    behind = consumer.offsets_for_times({partition: start + count for partition in partitions})
    assert all(found is None for found in behind.values()), behind


for fifth, codec in enumerate(CODECS):
    produce(codec, range(count * fifth // 5, count * (fifth + 1) // 5))
consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=60_000)
consumer.assign(partitions)
consumer.seek_to_beginning(*partitions)
consume(consumer)
list_offsets(consumer)
consumer.close()
print("ok", count)
