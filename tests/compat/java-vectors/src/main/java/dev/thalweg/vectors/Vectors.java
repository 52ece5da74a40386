package dev.thalweg.vectors;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Consumer;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.ControlRecordType;
import org.apache.kafka.common.record.DefaultRecordBatch;
import org.apache.kafka.common.record.EndTransactionMarker;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.ByteBufferOutputStream;

/** The batches that are worth a vector, each with one thing that readers get wrong. */
final class Vectors {
    private static final long TIME_MS = 1_750_000_000_000L;

    /** What {@link MemoryRecordsBuilder} wants to know, with a producer's defaults. */
    private static final class Options {
        Compression compression = Compression.NONE;
        TimestampType timestampType = TimestampType.CREATE_TIME;
        long baseOffset = 0;
        long logAppendTime = RecordBatch.NO_TIMESTAMP;
        long producerId = RecordBatch.NO_PRODUCER_ID;
        short producerEpoch = RecordBatch.NO_PRODUCER_EPOCH;
        int baseSequence = RecordBatch.NO_SEQUENCE;
        boolean transactional = false;
        boolean control = false;
        int leaderEpoch = RecordBatch.NO_PARTITION_LEADER_EPOCH;
        long deleteHorizon = RecordBatch.NO_TIMESTAMP;
    }

    static Map<String, ByteBuffer> all() {
        Map<String, ByteBuffer> vectors = new LinkedHashMap<>();
        vectors.put("plain", batch(options -> { }, Vectors::appendPlain));
        for (CompressionType type : CompressionType.values()) {
            vectors.put("codec-" + type.name, batch(
                    options -> options.compression = Compression.of(type).build(),
                    Vectors::appendLarge));
        }
        vectors.put("nulls", batch(options -> { }, Vectors::appendNulls));
        vectors.put("headers", batch(options -> { }, Vectors::appendHeaders));
        addTimestamps(vectors);
        addProducers(vectors);
        addOffsets(vectors);
        return vectors;
    }

    private static void addTimestamps(Map<String, ByteBuffer> vectors) {
        vectors.put("timestamps-wide", batch(options -> { }, builder -> {
            long[] timestamps = {0, Integer.MAX_VALUE, Integer.MAX_VALUE + 1L, TIME_MS, Long.MAX_VALUE};
            for (long timestamp : timestamps) {
                builder.append(timestamp, null, bytes("at " + timestamp));
            }
        }));
        vectors.put("timestamps-backwards", batch(options -> { }, builder -> {
            long[] timestamps = {Long.MAX_VALUE, TIME_MS, TIME_MS - 64, 0};
            for (long timestamp : timestamps) {
                builder.append(timestamp, null, bytes("at " + timestamp));
            }
        }));
        vectors.put("timestamps-none", batch(options -> { }, builder ->
                builder.append(RecordBatch.NO_TIMESTAMP, bytes("k"), bytes("v"))));
        vectors.put("log-append-time", batch(options -> {
            options.timestampType = TimestampType.LOG_APPEND_TIME;
            options.logAppendTime = TIME_MS + 500;
        }, Vectors::appendPlain));
        vectors.put("delete-horizon", batch(
                options -> options.deleteHorizon = TIME_MS + 86_400_000, builder -> {
                    builder.append(TIME_MS, bytes("gone"), (byte[]) null);
                    builder.append(TIME_MS + 1, bytes("kept"), bytes("v"));
                }));
    }

    private static void addProducers(Map<String, ByteBuffer> vectors) {
        vectors.put("idempotent", batch(options -> {
            options.producerId = 4_294_967_297L;
            options.producerEpoch = 7;
            options.baseSequence = 1000;
        }, Vectors::appendPlain));
        vectors.put("idempotent-sequence-wraps", batch(options -> {
            options.producerId = 9;
            options.producerEpoch = Short.MAX_VALUE;
            options.baseSequence = Integer.MAX_VALUE - 1;
        }, Vectors::appendPlain));
        vectors.put("transactional", batch(options -> {
            options.compression = Compression.lz4().build();
            options.producerId = 11;
            options.producerEpoch = 0;
            options.baseSequence = 0;
            options.transactional = true;
        }, Vectors::appendPlain));
        vectors.put("control-commit", batch(options -> {
            options.baseOffset = 77;
            options.producerId = 11;
            options.producerEpoch = 0;
            options.transactional = true;
            options.control = true;
            options.leaderEpoch = 3;
        }, builder -> builder.appendEndTxnMarker(
                TIME_MS, new EndTransactionMarker(ControlRecordType.COMMIT, 5))));
    }

    private static void addOffsets(Map<String, ByteBuffer> vectors) {
        vectors.put("base-offset-and-epoch", batch(options -> {
            options.baseOffset = 9_000_000_000_000_000_000L;
            options.leaderEpoch = Integer.MAX_VALUE;
        }, Vectors::appendPlain));
        vectors.put("gaps", batch(options -> options.baseOffset = 10, builder -> {
            long[] offsets = {12, 13, 90, 10 + (long) Integer.MAX_VALUE};
            for (long offset : offsets) {
                builder.appendWithOffset(offset, TIME_MS, bytes("k" + offset), bytes("v"));
            }
        }));
        vectors.put("gaps-zstd", batch(options -> {
            options.compression = Compression.zstd().build();
            options.baseOffset = 1000;
        }, builder -> {
            builder.appendWithOffset(1003, TIME_MS, bytes("k"), bytes("v"));
            builder.appendWithOffset(1500, TIME_MS + 1, bytes("k"), bytes("w"));
            // As compaction does when it removes the last records.
            builder.overrideLastOffset(1999);
        }));
        ByteBuffer empty = ByteBuffer.allocate(DefaultRecordBatch.RECORD_BATCH_OVERHEAD);
        DefaultRecordBatch.writeEmptyHeader(empty, RecordBatch.MAGIC_VALUE_V2, 5, (short) 1, 40,
                200, 219, 6, TimestampType.CREATE_TIME, TIME_MS, false, false);
        vectors.put("empty", empty.flip());
    }

    private static ByteBuffer batch(Consumer<Options> choose, Consumer<MemoryRecordsBuilder> append) {
        Options options = new Options();
        choose.accept(options);
        try (var builder = new MemoryRecordsBuilder(new ByteBufferOutputStream(1024),
                RecordBatch.MAGIC_VALUE_V2, options.compression, options.timestampType,
                options.baseOffset, options.logAppendTime, options.producerId,
                options.producerEpoch, options.baseSequence, options.transactional,
                options.control, options.leaderEpoch, Integer.MAX_VALUE, options.deleteHorizon)) {
            append.accept(builder);
            return builder.build().buffer();
        }
    }

    private static void appendPlain(MemoryRecordsBuilder builder) {
        for (int index = 0; index < 3; index++) {
            builder.append(TIME_MS + index, bytes("key-" + index), bytes("value-" + index));
        }
    }

    /** More than one block of snappy, lz4 and zstd, and lengths of one, two and three bytes. */
    private static void appendLarge(MemoryRecordsBuilder builder) {
        for (int size : new int[] {0, 1, 63, 64, 8191, 8192, 140_000}) {
            byte[] value = new byte[size];
            for (int index = 0; index < size; index++) {
                value[index] = (byte) ('a' + index / 7 % 26);
            }
            Header[] headers = {new RecordHeader("size", bytes(Integer.toString(size)))};
            builder.append(TIME_MS + size, bytes("k" + size), value, headers);
        }
    }

    private static void appendNulls(MemoryRecordsBuilder builder) {
        byte[] none = null;
        builder.append(TIME_MS, none, bytes("null key"));
        builder.append(TIME_MS, bytes("null value"), none);
        builder.append(TIME_MS, none, none);
        builder.append(TIME_MS, bytes(""), bytes(""));
    }

    private static void appendHeaders(MemoryRecordsBuilder builder) {
        Header[] several = {
            new RecordHeader("trace", bytes("1")),
            new RecordHeader("trace", bytes("2")),
            new RecordHeader("trace", (byte[]) null),
            new RecordHeader("", bytes("")),
            new RecordHeader("übergröße", new byte[] {0, -1, 127, -128}),
        };
        builder.append(TIME_MS, bytes("k"), bytes("v"), several);
        builder.append(TIME_MS, bytes("k"), bytes("none"), new Header[0]);
        Header[] many = new Header[100];
        for (int index = 0; index < many.length; index++) {
            many[index] = new RecordHeader("h", new byte[] {(byte) index});
        }
        builder.append(TIME_MS, (byte[]) null, (byte[]) null, many);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(UTF_8);
    }
}
