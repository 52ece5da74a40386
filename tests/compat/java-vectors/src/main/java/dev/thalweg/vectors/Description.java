package dev.thalweg.vectors;

import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.StringJoiner;
import java.util.zip.CRC32C;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.DefaultRecordBatch;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MutableRecordBatch;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.utils.Utils;

/** What Java reads out of one batch, as text: a line per header field, then a line per record. */
final class Description {
    /** Longer fields are described by their size and checksum. */
    private static final int HEX_BYTES_MAX = 64;

    static String of(ByteBuffer bytes) {
        var batches = MemoryRecords.readableRecords(bytes.duplicate()).batches().iterator();
        MutableRecordBatch next = batches.next();
        if (batches.hasNext() || !(next instanceof DefaultRecordBatch batch)) {
            throw new IllegalStateException("not exactly one batch of version 2");
        }
        batch.ensureValid();

        StringBuilder out = new StringBuilder();
        line(out, "size_bytes", batch.sizeInBytes());
        line(out, "base_offset", batch.baseOffset());
        line(out, "last_offset", batch.lastOffset());
        line(out, "leader_epoch", batch.partitionLeaderEpoch());
        line(out, "crc", String.format("%08x", batch.checksum()));
        line(out, "codec", batch.compressionType().name);
        line(out, "timestamp_type", batch.timestampType().name);
        line(out, "transactional", batch.isTransactional());
        line(out, "control", batch.isControlBatch());
        line(out, "delete_horizon", batch.deleteHorizonMs().isPresent());
        line(out, "base_timestamp", batch.baseTimestamp());
        line(out, "max_timestamp", batch.maxTimestamp());
        line(out, "producer_id", batch.producerId());
        line(out, "producer_epoch", batch.producerEpoch());
        line(out, "base_sequence", batch.baseSequence());
        line(out, "last_sequence", batch.lastSequence());
        line(out, "record_count", batch.countOrNull());
        for (Record record : batch) {
            record.ensureValid();
            out.append("record ").append(record.offset())
                    .append(' ').append(record.timestamp())
                    .append(' ').append(field(record.key()))
                    .append(' ').append(field(record.value()))
                    .append(' ').append(headers(record.headers())).append('\n');
        }
        return out.toString();
    }

    private static void line(StringBuilder out, String name, Object value) {
        out.append(name).append(' ').append(value).append('\n');
    }

    private static String headers(Header[] headers) {
        StringJoiner all = new StringJoiner(",", "[", "]");
        for (Header header : headers) {
            byte[] value = header.value();
            all.add(field(ByteBuffer.wrap(Utils.utf8(header.key())))
                    + "=" + field(value == null ? null : ByteBuffer.wrap(value)));
        }
        return all.toString();
    }

    private static String field(ByteBuffer field) {
        if (field == null) {
            return "null";
        }
        byte[] bytes = Utils.toArray(field);
        if (bytes.length <= HEX_BYTES_MAX) {
            return "0x" + HexFormat.of().formatHex(bytes);
        }
        CRC32C crc = new CRC32C();
        crc.update(bytes);
        return String.format("%d-bytes:%08x", bytes.length, crc.getValue());
    }
}
