"""librdkafka, through confluent-kafka: produces, consumes and administers against a cluster.

Usage: check.py BOOTSTRAP. Exits with 0 when everything is as it should be.
"""

import sys
import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

BOOTSTRAP = sys.argv[1]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
RECORDS = 2_000


def say(what):
    print(f"librdkafka: {what}", flush=True)


def consumer():
    # A group id is demanded and not used: partitions are assigned by hand.
    return Consumer(
        {
            "bootstrap.servers": BOOTSTRAP,
            "group.id": "unused",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "check.crcs": True,
        }
    )


def read(topic, partition, offset, until_eof=True):
    """Every record of a partition from `offset` to its end."""
    reader = consumer()
    reader.assign([TopicPartition(topic, partition, offset)])
    records = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        message = reader.poll(1.0)
        if message is None:
            continue
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            if until_eof:
                reader.close()
                return records
            continue
        records.append(message)
        if not until_eof:
            reader.close()
            return records
    raise AssertionError(f"{topic}-{partition} was not read to its end")


def produce(topic, settings, messages):
    """Produces and returns where each record was stored, in the order of `messages`."""
    producer = Producer({"bootstrap.servers": BOOTSTRAP, **settings})
    places = [None] * len(messages)

    def delivered(index):
        def note(error, message):
            assert error is None, error
            places[index] = (message.partition(), message.offset())

        return note

    for index, message in enumerate(messages):
        producer.produce(topic, on_delivery=delivered(index), **message)
        producer.poll(0)
    assert producer.flush(60) == 0, "not everything was delivered"
    return places


def check_codec(codec):
    topic = f"librdkafka-{codec}"
    messages = [
        {
            "key": f"key-{number % 50}".encode(),
            "value": (f"value {number} " * 5).encode(),
            "headers": [("n", str(number).encode()), ("n", b"again"), ("none", None)],
        }
        for number in range(RECORDS)
    ]
    produce(
        topic,
        {"enable.idempotence": True, "compression.type": codec, "linger.ms": 5},
        messages,
    )
    records = [record for partition in range(3) for record in read(topic, partition, OFFSET_BEGINNING)]
    got = sorted((r.value(), r.key(), tuple(r.headers())) for r in records)
    want = sorted((m["value"], m["key"], tuple(m["headers"])) for m in messages)
    assert got == want, f"{codec}: {len(got)} records came back"
    for partition in range(3):
        offsets = [r.offset() for r in records if r.partition() == partition]
        assert offsets == list(range(len(offsets))), "offsets have gaps"


def check_positions():
    topic = "librdkafka-none"
    middle = read(topic, 0, 100)
    assert middle[0].offset() == 100

    when = middle[10].timestamp()[1]
    reader = consumer()
    [found] = reader.offsets_for_times([TopicPartition(topic, 0, when)], timeout=10)
    [first] = read(topic, 0, found.offset, until_eof=False)
    assert first.timestamp()[1] >= when
    low, high = reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    assert (low, high) == (0, middle[-1].offset() + 1)
    reader.close()

    reader = consumer()
    reader.assign([TopicPartition(topic, 0, OFFSET_END)])
    while True:
        message = reader.poll(10)
        assert message is not None and message.error(), "records before the end were read"
        if message.error().code() == KafkaError._PARTITION_EOF:
            break
    produce(topic, {}, [{"value": b"the latest", "partition": 0}])
    message = reader.poll(10)
    assert message.value() == b"the latest"
    reader.close()


def check_acks_and_sizes():
    topic = "librdkafka-sizes"
    for acks in ["0", "1", "all"]:
        produce(topic, {"acks": acks}, [{"value": acks.encode(), "partition": 0}] * 10)
    large = b"x" * 900_000
    produce(topic, {"enable.idempotence": True}, [{"value": large, "partition": 1}] * 5)
    produce(topic, {}, [{"key": b"tombstone", "value": None, "partition": 2}])
    produce(topic, {}, [{"value": b"", "partition": 2}])

    values = [r.value() for r in read(topic, 0, OFFSET_BEGINNING)]
    assert values == [b"0"] * 10 + [b"1"] * 10 + [b"all"] * 10, values
    assert all(r.value() == large for r in read(topic, 1, OFFSET_BEGINNING))
    tombstone, empty = read(topic, 2, OFFSET_BEGINNING)
    assert tombstone.value() is None and tombstone.key() == b"tombstone"
    assert empty.value() == b"" and empty.key() is None

    producer = Producer({"bootstrap.servers": BOOTSTRAP, "message.max.bytes": 4_000_000})
    errors = []
    producer.produce(topic, value=b"x" * 2_000_000, on_delivery=lambda e, _: errors.append(e))
    producer.flush(30)
    assert errors[0].code() == KafkaError.MSG_SIZE_TOO_LARGE, errors


def check_administration():
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    cluster = admin.describe_cluster().result(10)
    assert cluster.cluster_id and cluster.nodes

    def created(name, partitions, config):
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config)
        return admin.create_topics([topic])[name]

    created("librdkafka-admin", 2, {"retention.ms": "60000"}).result(10)
    try:
        created("librdkafka-admin", 2, {}).result(10)
        raise AssertionError("the same topic was created twice")
    except Exception as error:
        assert error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS, error

    resource = ConfigResource(ConfigResource.Type.TOPIC, "librdkafka-admin")
    settings = admin.describe_configs([resource])[resource].result(10)
    assert settings["retention.ms"].value == "60000"
    assert settings["segment.bytes"].is_default

    change = ConfigResource(
        ConfigResource.Type.TOPIC,
        "librdkafka-admin",
        incremental_configs=[
            ConfigEntry("retention.ms", "70000", incremental_operation=AlterConfigOpType.SET)
        ],
    )
    admin.incremental_alter_configs([change])[change].result(10)
    until(
        "the setting changes",
        lambda: admin.describe_configs([resource])[resource].result(10)["retention.ms"].value
        == "70000",
    )

    admin.create_partitions([NewPartitions("librdkafka-admin", 4)])["librdkafka-admin"].result(10)
    until(
        "partitions are added",
        lambda: len(admin.list_topics("librdkafka-admin", timeout=10).topics["librdkafka-admin"].partitions)
        == 4,
    )

    until("the partition has a leader", lambda: leads(admin, "librdkafka-admin"))
    produce("librdkafka-admin", {}, [{"value": b"x", "partition": 0}] * 20)
    partition = TopicPartition("librdkafka-admin", 0, 15)
    deleted = admin.delete_records([partition])[partition].result(10)
    assert deleted.low_watermark == 15
    offsets = admin.list_offsets({TopicPartition("librdkafka-admin", 0): OffsetSpec.earliest()})
    assert [f.result(10).offset for f in offsets.values()] == [15]

    admin.delete_topics(["librdkafka-admin"])["librdkafka-admin"].result(10)
    until(
        "the topic is gone",
        lambda: "librdkafka-admin" not in admin.list_topics(timeout=10).topics,
    )


def check_compacted():
    """Needs an SPU that looks every moment what is to be compacted."""
    topic = "librdkafka-compacted"
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    config = {
        "cleanup.policy": "compact",
        "segment.bytes": "20000",
        "min.cleanable.dirty.ratio": "0.01",
        "delete.retention.ms": "0",
    }
    admin.create_topics([NewTopic(topic, 1, 1, config=config)])[topic].result(10)
    until(f"{topic} has leaders", lambda: leads(admin, topic))
    newest = {}
    stored = {}
    for turn in range(20):
        messages = []
        for number in range(100):
            # Every other turn deletes what the one before has written.
            key = f"key-{turn // 2 * 100 + number}" if number % 10 else f"key-{number}"
            value = None if turn % 2 and number % 10 else f"{turn} {number}".ljust(50).encode()
            messages.append({"key": key.encode(), "value": value, "partition": 0})
        settings = {"enable.idempotence": True, "batch.num.messages": 7}
        for message, (_, offset) in zip(messages, produce(topic, settings, messages)):
            stored[offset] = (message["key"], message["value"])
            newest[message["key"]] = (offset, message["value"])
    assert sorted(stored) == list(range(2000))

    def compacted():
        records = read(topic, 0, OFFSET_BEGINNING)
        offsets = [record.offset() for record in records]
        assert offsets == sorted(set(offsets)), "offsets do not rise"
        for record in records:
            assert stored[record.offset()] == (record.key(), record.value())
        for offset, value in newest.values():
            assert value is None or offset in offsets, f"{offset} is lost"
        return len(records) < 500 and records

    until("it is compacted", compacted)
    records = compacted()
    # Whatever is left after an offset is found from there.
    for start in range(0, 2000, 199):
        offsets = [record.offset() for record in read(topic, 0, start)]
        assert offsets == [r.offset() for r in records if r.offset() >= start][-len(offsets):]
        assert offsets[-1] == 1999
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    errors = []
    producer.produce(topic, value=b"no key", on_delivery=lambda e, _: errors.append(e))
    producer.flush(30)
    assert errors[0].code() == KafkaError.INVALID_RECORD, errors


def leads(admin, topic):
    partitions = admin.list_topics(topic, timeout=10).topics[topic].partitions.values()
    return all(partition.leader >= 0 for partition in partitions)


def until(what, condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within 30 s"
        time.sleep(0.05)


def main():
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    names = [f"librdkafka-{codec}" for codec in CODECS] + ["librdkafka-sizes"]
    for name, future in admin.create_topics([NewTopic(n, 3, 1) for n in names]).items():
        future.result(10)
        until(f"{name} has leaders", lambda: leads(admin, name))
    for codec in CODECS:
        check_codec(codec)
        say(f"{RECORDS} records with {codec}, keys and headers, idempotent")
    check_positions()
    say("from an offset, a timestamp and the end")
    check_acks_and_sizes()
    say("acks 0, 1 and all; large, empty and null values; a record beyond the limit is refused")
    check_compacted()
    say("a compacted topic: every key's newest record, at its offset")
    check_administration()
    say("topics, settings, partitions, records: created, changed and deleted")


main()
