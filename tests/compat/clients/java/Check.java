import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.NoReassignmentInProgressException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Apache Kafka's Java client: produces, consumes and administers against a cluster.
 *
 * <p>Usage: Check BOOTSTRAP. Exits with 0 when everything is as it should be.
 */
public final class Check {
    private static final int RECORDS = 2_000;
    private static String bootstrap;

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        try (Admin admin = Admin.create(properties())) {
            for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                String topic = "java-" + codec;
                create(admin, topic, 3);
                produce(topic, codec);
                consume(topic);
                say(RECORDS + " records with " + codec + ", keys and headers, idempotent");
            }
            checkPositions("java-none");
            say("from the beginning, an offset, a timestamp and the end");
            checkSizes(admin);
            say("large and null values; a record beyond the limit is refused");
            checkAdministration(admin);
            say("topics, settings, partitions, records: created, changed and deleted");
            checkPlacement(admin);
            say("replicas moved, and leaders elected");
        }
    }

    private static void produce(String topic, String codec) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("compression.type", codec, "linger.ms", 5))) {
            List<Future<RecordMetadata>> answers = new ArrayList<>();
            for (int number = 0; number < RECORDS; number++) {
                ProducerRecord<byte[], byte[]> record =
                        new ProducerRecord<>(topic, bytes("key-" + number % 50), bytes("value " + number + " more of it"));
                record.headers().add("n", bytes("" + number)).add("n", bytes("again")).add("none", null);
                answers.add(producer.send(record));
            }
            for (Future<RecordMetadata> answer : answers) {
                check(answer.get().hasOffset(), "an answer has no offset");
            }
        }
    }

    private static void consume(String topic) {
        HashSet<String> seen = new HashSet<>();
        HashMap<Integer, Long> next = new HashMap<>();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            consumer.assign(partitions(topic, 3));
            consumer.seekToBeginning(consumer.assignment());
            long deadline = System.nanoTime() + Duration.ofMinutes(1).toNanos();
            while (seen.size() < RECORDS) {
                check(System.nanoTime() < deadline, "only " + seen.size() + " records came within a minute");
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    long expected = next.getOrDefault(record.partition(), 0L);
                    check(record.offset() == expected, "offset " + record.offset() + " instead of " + expected);
                    next.put(record.partition(), expected + 1);
                    Header[] headers = record.headers().toArray();
                    check(headers.length == 3 && headers[1].key().equals("n") && headers[2].value() == null, "headers " + Arrays.toString(headers));
                    check(seen.add(text(headers[0].value())), "a record came twice");
                }
            }
        }
    }

    private static void checkPositions(String topic) throws Exception {
        TopicPartition first = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            consumer.assign(List.of(first));
            consumer.seek(first, 100);
            List<ConsumerRecord<byte[], byte[]>> records = poll(consumer, first);
            check(records.get(0).offset() == 100, "seeking to 100 gave " + records.get(0).offset());
            long when = records.get(10).timestamp();
            long found = consumer.offsetsForTimes(Map.of(first, when)).get(first).offset();
            consumer.seek(first, found);
            check(poll(consumer, first).get(0).timestamp() >= when, "a record before the timestamp");
            check(consumer.beginningOffsets(List.of(first)).get(first) == 0, "the beginning is not 0");

            consumer.seekToEnd(List.of(first));
            long end = consumer.position(first);
            check(end == consumer.endOffsets(List.of(first)).get(first), "the end is not the end");
            try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("acks", "1", "enable.idempotence", false))) {
                long offset = producer.send(new ProducerRecord<>(topic, 0, null, bytes("latest"))).get().offset();
                check(offset == end, "appended at " + offset + " instead of " + end);
            }
            check(text(poll(consumer, first).get(0).value()).equals("latest"), "the latest did not come");
        }
    }

    private static void checkSizes(Admin admin) throws Exception {
        create(admin, "java-sizes", 1);
        Map<String, Object> large = Map.of("max.request.size", 8_000_000, "buffer.memory", 33_554_432L);
        try (KafkaProducer<byte[], byte[]> producer = producer(large)) {
            producer.send(new ProducerRecord<>("java-sizes", new byte[900_000])).get();
            producer.send(new ProducerRecord<>("java-sizes", bytes("key"), null)).get();
            expect(RecordTooLargeException.class, () -> producer.send(new ProducerRecord<>("java-sizes", new byte[2_000_000])).get());
        }
        TopicPartition only = new TopicPartition("java-sizes", 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            consumer.assign(List.of(only));
            consumer.seekToBeginning(List.of(only));
            List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>(poll(consumer, only));
            while (records.size() < 2) {
                records.addAll(poll(consumer, only));
            }
            check(records.get(0).value().length == 900_000, "the large value is not whole");
            check(records.get(1).value() == null, "the null value is not null");
        }
    }

    private static void checkAdministration(Admin admin) throws Exception {
        check(!admin.describeCluster().nodes().get().isEmpty(), "the cluster has no nodes");
        check(admin.describeCluster().clusterId().get() != null, "the cluster has no id");
        create(admin, "java-admin", 2);
        expect(TopicExistsException.class, () -> admin.createTopics(List.of(new NewTopic("java-admin", 2, (short) 1))).all().get());

        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, "java-admin");
        AlterConfigOp change = new AlterConfigOp(new ConfigEntry("retention.ms", "70000"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
        until("the setting changes", () ->
                admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value().equals("70000"));

        admin.createPartitions(Map.of("java-admin", NewPartitions.increaseTo(4))).all().get();
        until("partitions are added", () -> partitionCount(admin, "java-admin") == 4);
        until("all have leaders", () -> leads(admin, "java-admin"));

        TopicPartition first = new TopicPartition("java-admin", 0);
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            for (int number = 0; number < 20; number++) {
                producer.send(new ProducerRecord<>("java-admin", 0, null, bytes("x"))).get();
            }
        }
        long low = admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(15))).lowWatermarks().get(first).get().lowWatermark();
        check(low == 15, "the low watermark is " + low);
        long earliest = admin.listOffsets(Map.of(first, OffsetSpec.earliest())).partitionResult(first).get().offset();
        check(earliest == 15, "the earliest offset is " + earliest);

        admin.deleteTopics(List.of("java-admin")).all().get();
        until("the topic is gone", () -> !admin.listTopics().names().get().contains("java-admin"));
    }

    /** Needs two nodes. */
    private static void checkPlacement(Admin admin) throws Exception {
        String topic = "java-placement";
        create(admin, topic, 1);
        TopicPartition partition = new TopicPartition(topic, 0);
        int leader = described(admin, topic).leader().id();
        int other = admin.describeCluster().nodes().get().stream().mapToInt(Node::id).filter(id -> id != leader).findFirst().getAsInt();

        NewPartitionReassignment both = new NewPartitionReassignment(List.of(other, leader));
        admin.alterPartitionReassignments(Map.of(partition, Optional.of(both))).all().get();
        until("both are in sync", () -> described(admin, topic).isr().size() == 2
                && admin.listPartitionReassignments().reassignments().get().isEmpty());
        List<Integer> replicas = described(admin, topic).replicas().stream().map(Node::id).toList();
        check(replicas.equals(List.of(other, leader)), "it is on " + replicas);
        expect(NoReassignmentInProgressException.class,
                () -> admin.alterPartitionReassignments(Map.of(partition, Optional.empty())).all().get());

        // The controller may have given it to the preferred leader a moment before.
        admin.electLeaders(ElectionType.PREFERRED, Set.of(partition)).partitions().get();
        until("the preferred leader leads", () -> described(admin, topic).leader().id() == other);
        Optional<Throwable> again = admin.electLeaders(ElectionType.PREFERRED, Set.of(partition)).partitions().get().get(partition);
        check(again.orElseThrow() instanceof ElectionNotNeededException, "it was elected again: " + again);
    }

    private static TopicPartitionInfo described(Admin admin, String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().get(0);
    }

    private static void create(Admin admin, String topic, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        until(topic + " has leaders", () -> leads(admin, topic));
    }

    private static boolean leads(Admin admin, String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().stream()
                .allMatch(partition -> partition.leader() != null && !partition.leader().isEmpty());
    }

    private static int partitionCount(Admin admin, String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
    }

    private static List<ConsumerRecord<byte[], byte[]>> poll(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition) {
        for (int attempt = 0; attempt < 30; attempt++) {
            List<ConsumerRecord<byte[], byte[]>> records = consumer.poll(Duration.ofSeconds(1)).records(partition);
            if (!records.isEmpty()) {
                return records;
            }
        }
        throw new AssertionError("no records of " + partition + " within 30 s");
    }

    private static KafkaProducer<byte[], byte[]> producer(Map<String, Object> settings) {
        Properties properties = properties();
        properties.putAll(settings);
        return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static KafkaConsumer<byte[], byte[]> consumer() {
        return new KafkaConsumer<>(properties(), new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static Properties properties() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        return properties;
    }

    private static List<TopicPartition> partitions(String topic, int count) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (int index = 0; index < count; index++) {
            partitions.add(new TopicPartition(topic, index));
        }
        return partitions;
    }

    private static void until(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + Duration.ofSeconds(30).toNanos();
        while (!holds(condition)) {
            check(System.nanoTime() < deadline, what + ": not within 30 s");
            Thread.sleep(50);
        }
    }

    /** A topic that was just created may be unknown for a moment to the node that is asked. */
    private static boolean holds(Callable<Boolean> condition) throws Exception {
        try {
            return condition.call();
        } catch (ExecutionException error) {
            if (error.getCause() instanceof org.apache.kafka.common.errors.UnknownTopicOrPartitionException) {
                return false;
            }
            throw error;
        }
    }

    private static void expect(Class<? extends Exception> wanted, Callable<?> call) throws Exception {
        try {
            call.call();
        } catch (ExecutionException error) {
            check(wanted.isInstance(error.getCause()), wanted + " expected, got " + error.getCause());
            return;
        }
        throw new AssertionError(wanted + " expected, and it succeeded");
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    private static void say(String what) {
        System.out.println("kafka-clients: " + what);
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
