import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * One member of a consumer group.
 *
 * <p>Usage: GroupMember BOOTSTRAP GROUP TOPIC ASSIGNOR SESSION_MS [INSTANCE], where ASSIGNOR is `eager` or
 * `cooperative`, or the name of an assignor of the brokers' with KIP-848's protocol (`uniform`, `range`).
 * It says what group_member.py says.
 */
final class GroupMember {
    private static volatile boolean running = true;

    private GroupMember() {}

    public static void main(String[] arguments) throws Exception {
        CountDownLatch closed = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            running = false;
            try {
                closed.await();
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            }
        }));
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(properties(arguments), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(arguments[2]), new Listener());
            while (running) {
                poll(consumer);
            }
        } finally {
            say("closed");
            closed.countDown();
        }
    }

    private static Properties properties(String[] arguments) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        properties.put("group.id", arguments[1]);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        properties.put("max.poll.records", "50");
        properties.put("metadata.max.age.ms", "2000");
        switch (arguments[3]) {
            case "eager" -> properties.put(
                    "partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor");
            case "cooperative" -> properties.put(
                    "partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
            default -> {
                properties.put("group.protocol", "consumer");
                properties.put("group.remote.assignor", arguments[3]);
            }
        }
        if (!properties.containsKey("group.protocol")) {
            properties.put("session.timeout.ms", arguments[4]);
            properties.put("heartbeat.interval.ms", "300");
        }
        if (arguments.length > 5) {
            properties.put("group.instance.id", arguments[5]);
        }
        return properties;
    }

    private static void poll(KafkaConsumer<byte[], byte[]> consumer) {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
        Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
        for (ConsumerRecord<byte[], byte[]> record : records) {
            say("record " + record.partition() + " " + record.offset());
            next.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        if (next.isEmpty()) {
            return;
        }
        try {
            consumer.commitSync(next);
            next.forEach((partition, offset) -> say("committed " + partition.partition() + " " + offset.offset()));
        } catch (KafkaException error) {
            say("commit-failed " + error);
        }
    }

    private static void say(String what) {
        System.out.println(what);
        System.out.flush();
    }

    private static void sayPartitions(String what, Collection<TopicPartition> partitions) {
        say(what + partitions.stream().map(partition -> " " + partition.partition()).collect(Collectors.joining()));
    }

    private static final class Listener implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            sayPartitions("assigned", partitions);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            sayPartitions("revoked", partitions);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            sayPartitions("lost", partitions);
        }
    }
}
