"""confluent-kafka (librdkafka): idempotent producers of every codec, then a consumer of both partitions."""

import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]

bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
start = int(time.time() * 1000) - 60_000


def produce(codec, numbers):
    acked = {}

    def on_delivery(error, message):
        assert error is None, error
        acked[int(message.key().split()[1])] = (message.partition(), message.offset())

    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": codec})
    for number in numbers:
        producer.produce(
            topic,
            key=f"key {number}",
            value=f"value {number}",
            headers={"number": str(number)},
            partition=number % 2,
            timestamp=start + number,
            on_delivery=on_delivery,
        )
        producer.poll(0)
    assert producer.flush(60) == 0, "everything is acked"
    assert acked == {number: (number % 2, number // 2) for number in numbers}, "acked offsets are dense and in order"


def consume(consumer):
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in (0, 1)])
    seen = set()
    while len(seen) < count:
        message = consumer.poll(60)
        assert message is not None, f"only {len(seen)} of {count} arrived"
        assert message.error() is None, message.error()
        number = message.offset() * 2 + message.partition()
        assert (message.key(), message.value()) == (b"key %d" % number, b"value %d" % number)
        assert message.headers() == [("number", b"%d" % number)], message.headers()
        assert message.timestamp()[1] == start + number, message.timestamp()
        assert number not in seen
        seen.add(number)


def list_offsets(consumer):
    def at(time_ms):
        asked = [TopicPartition(topic, partition, time_ms) for partition in (0, 1)]
        return [found.offset for found in consumer.offsets_for_times(asked, timeout=30)]

    for partition in (0, 1):
        marks = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
        assert marks == (0, count // 2), marks
    first = [next(n for n in range(count // 2, count) if n % 2 == partition) // 2 for partition in (0, 1)]
    assert at(start + count // 2) == first, at(start + count // 2)
    assert at(start - 1000) == [0, 0]
    assert at(start + count) == [-1, -1], "librdkafka's word for the end"


for fifth, codec in enumerate(CODECS):
    produce(codec, range(count * fifth // 5, count * (fifth + 1) // 5))
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
consume(consumer)
list_offsets(consumer)
consumer.close()
print("ok", count)
