"""A consumer group of stock clients against one broker: groups.py HOST:PORT TOPIC RECORDS

Two members share four partitions; one leaves and the other takes over; offsets are committed with
metadata and found again; a static member comes back to its assignment; the admin client sees it all.
"""
import sys
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

address, topic, records = sys.argv[1], sys.argv[2], int(sys.argv[3])
GROUP = f"group-of-{topic}"


def consumer(**more):
    settings = {
        "bootstrap.servers": address,
        "group.id": GROUP,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 300,
    }
    made = Consumer({**settings, **more})
    made.subscribe([topic])
    return made


def poll_until(members, done, seconds=60):
    """Polls every member until `done()`; returns the records of each."""
    until = time.monotonic() + seconds
    found = [[] for _ in members]
    while not done(found):
        assert time.monotonic() < until, f"not done after {seconds} s"
        for index, member in enumerate(members):
            message = member.poll(0.05)
            if message is not None:
                assert message.error() is None, message.error()
                found[index].append((message.partition(), message.offset()))
    return found


admin = AdminClient({"bootstrap.servers": address})
for future in admin.create_topics([NewTopic(topic, 4, 1)]).values():
    future.result()
producer = Producer({"bootstrap.servers": address})
for number in range(records):
    producer.produce(topic, str(number), partition=number % 4)
assert producer.flush(30) == 0

for strategy in ["range", "cooperative-sticky"]:
    members = [consumer(**{"partition.assignment.strategy": strategy}) for _ in range(2)]
    shared = lambda _: all(len(member.assignment()) == 2 for member in members)
    early = poll_until(members, shared)
    if strategy == "range":
        # What was read before the last rebalance and not committed is read again.
        all_of = lambda found: {place for one in early + found for place in one}
        poll_until(members, lambda found: len(all_of(found)) == records)
        for member in members:
            member.commit(asynchronous=False)
    committed = members[0].committed([TopicPartition(topic, index) for index in range(4)])
    assert [place.offset for place in committed] == [records // 4] * 4, committed
    members[0].close()
    poll_until(members[1:], lambda _: len(members[1].assignment()) == 4)
    members[1].close()

noted = Consumer({"bootstrap.servers": address, "group.id": GROUP + "-noted"})
noted.commit(offsets=[TopicPartition(topic, 1, 7, "a note")], asynchronous=False)
[place] = noted.committed([TopicPartition(topic, 1)])
assert (place.offset, place.metadata) == (7, "a note"), place
noted.close()

static = {"group.instance.id": "one", "group.id": GROUP + "-static"}
first = consumer(**static)
poll_until([first], lambda found: len(first.assignment()) == 4)
[description] = [f.result() for f in admin.describe_consumer_groups([GROUP + "-static"]).values()]
before = description.members[0].member_id
assert description.state.name == "STABLE", description.state
assert description.members[0].group_instance_id == "one"
first.close()  # a static member does not leave
again = consumer(**static)
poll_until([again], lambda found: len(again.assignment()) == 4)
[description] = [f.result() for f in admin.describe_consumer_groups([GROUP + "-static"]).values()]
assert len(description.members) == 1 and description.members[0].member_id != before
again.close()

listed = {group.group_id for group in admin.list_consumer_groups().result().valid}
assert {GROUP, GROUP + "-noted", GROUP + "-static"} <= listed, listed
wanted = [ConsumerGroupTopicPartitions(GROUP)]
[offsets] = [f.result() for f in admin.list_consumer_group_offsets(wanted).values()]
assert len(offsets.topic_partitions) == 4
for future in admin.delete_consumer_groups([GROUP + "-noted"]).values():
    future.result()
listed = {group.group_id for group in admin.list_consumer_groups().result().valid}
assert GROUP + "-noted" not in listed
print(f"ok {records}")
