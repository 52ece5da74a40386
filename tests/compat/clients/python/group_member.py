"""One member of a consumer group, through one of Python's Kafka clients.

Usage: group_member.py LIBRARY BOOTSTRAP GROUP TOPIC ASSIGNOR SESSION_MS [INSTANCE]

LIBRARY is `confluent` (librdkafka), `kafka-python` or `aiokafka`; ASSIGNOR `eager`, with `confluent` also
`cooperative`, and `uniform` or `range`, by which the coordinator assigns (KIP-848).
Says a line for each thing that happens: `assigned`, `revoked` or `lost` with partitions, `record` with
partition and offset, and then `committed` with partition and next offset. SIGTERM ends it in good order.
"""

import asyncio
import signal
import sys

LIBRARY, BOOTSTRAP, GROUP, TOPIC, ASSIGNOR, SESSION_MS = sys.argv[1:7]
INSTANCE = sys.argv[7] if len(sys.argv) > 7 else None
HEARTBEAT_MS = 300
BATCH = 50

running = True


def stop(_signal, _frame):
    global running
    running = False


def say(*words):
    print(*words, flush=True)


def say_partitions(what, partitions):
    say(what, *sorted(partition.partition for partition in partitions))


def confluent():
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    settings = {
        "bootstrap.servers": BOOTSTRAP,
        "group.id": GROUP,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "topic.metadata.refresh.interval.ms": 2000,
    }
    if ASSIGNOR in ("uniform", "range"):
        settings["group.protocol"] = "consumer"
        settings["group.remote.assignor"] = ASSIGNOR
    else:
        settings["session.timeout.ms"] = int(SESSION_MS)
        settings["heartbeat.interval.ms"] = HEARTBEAT_MS
        strategy = "cooperative-sticky" if ASSIGNOR == "cooperative" else "range"
        settings["partition.assignment.strategy"] = strategy
    if INSTANCE:
        settings["group.instance.id"] = INSTANCE
    consumer = Consumer(settings)
    consumer.subscribe(
        [TOPIC],
        on_assign=lambda _, partitions: say_partitions("assigned", partitions),
        on_revoke=lambda _, partitions: say_partitions("revoked", partitions),
        on_lost=lambda _, partitions: say_partitions("lost", partitions),
    )
    while running:
        next_offsets = {}
        for message in consumer.consume(BATCH, 0.2):
            if message.error():
                say("error", message.error())
                continue
            say("record", message.partition(), message.offset())
            next_offsets[message.partition()] = message.offset() + 1
        if not next_offsets:
            continue
        offsets = [TopicPartition(TOPIC, p, offset) for p, offset in next_offsets.items()]
        try:
            for done in consumer.commit(offsets=offsets, asynchronous=False):
                say("committed", done.partition, done.offset)
        except KafkaException as error:
            say("commit-failed", error)
    consumer.close()


def kafka_python():
    from kafka import ConsumerRebalanceListener, KafkaConsumer
    from kafka.errors import KafkaError
    from kafka.structs import OffsetAndMetadata

    class Listener(ConsumerRebalanceListener):
        def on_partitions_assigned(self, assigned):
            say_partitions("assigned", assigned)

        def on_partitions_revoked(self, revoked):
            say_partitions("revoked", revoked)

    consumer = KafkaConsumer(
        bootstrap_servers=BOOTSTRAP,
        group_id=GROUP,
        group_instance_id=INSTANCE,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=int(SESSION_MS),
        heartbeat_interval_ms=HEARTBEAT_MS,
        metadata_max_age_ms=2000,
    )
    consumer.subscribe([TOPIC], listener=Listener())
    while running:
        polled = consumer.poll(timeout_ms=200, max_records=BATCH)
        next_offsets = {}
        for partition, records in polled.items():
            for record in records:
                say("record", record.partition, record.offset)
            next_offsets[partition] = OffsetAndMetadata(records[-1].offset + 1, "", -1)
        if not next_offsets:
            continue
        try:
            consumer.commit(next_offsets)
        except KafkaError as error:
            say("commit-failed", error)
            continue
        for partition, committed in next_offsets.items():
            say("committed", partition.partition, committed.offset)
    consumer.close(autocommit=False)


async def aiokafka():
    from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
    from aiokafka.errors import KafkaError

    class Listener(ConsumerRebalanceListener):
        def on_partitions_assigned(self, assigned):
            say_partitions("assigned", assigned)

        def on_partitions_revoked(self, revoked):
            say_partitions("revoked", revoked)

    consumer = AIOKafkaConsumer(
        bootstrap_servers=BOOTSTRAP,
        group_id=GROUP,
        group_instance_id=INSTANCE,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=int(SESSION_MS),
        heartbeat_interval_ms=HEARTBEAT_MS,
        metadata_max_age_ms=2000,
    )
    consumer.subscribe([TOPIC], listener=Listener())
    await consumer.start()
    while running:
        polled = await consumer.getmany(timeout_ms=200, max_records=BATCH)
        next_offsets = {}
        for partition, records in polled.items():
            for record in records:
                say("record", record.partition, record.offset)
            next_offsets[partition] = records[-1].offset + 1
        if not next_offsets:
            continue
        try:
            await consumer.commit(next_offsets)
        except KafkaError as error:
            say("commit-failed", repr(error))
            continue
        for partition, offset in next_offsets.items():
            say("committed", partition.partition, offset)
    await consumer.stop()


signal.signal(signal.SIGTERM, stop)
if LIBRARY == "confluent":
    confluent()
elif LIBRARY == "kafka-python":
    kafka_python()
else:
    asyncio.run(aiokafka())
say("closed")
