"""confluent-kafka (librdkafka): an idempotent producer, then a consumer of both partitions."""

import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

acked = {}


def on_delivery(error, message):
    assert error is None, error
    acked[int(message.key().split()[1])] = (message.partition(), message.offset())


producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": "zstd"})
for number in range(count):
    producer.produce(topic, key=f"key {number}", value=f"value {number}", partition=number % 2, on_delivery=on_delivery)
    producer.poll(0)
assert producer.flush(60) == 0, "everything is acked"
assert acked == {number: (number % 2, number // 2) for number in range(count)}, "acked offsets are dense and in order"

consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in (0, 1)])
seen = set()
while len(seen) < count:
    message = consumer.poll(60)
    assert message is not None, f"only {len(seen)} of {count} arrived"
    assert message.error() is None, message.error()
    number = message.offset() * 2 + message.partition()
    assert (message.key(), message.value()) == (b"key %d" % number, b"value %d" % number)
    seen.add(number)
consumer.close()
print("ok", count)
