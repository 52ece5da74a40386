package dev.thalweg.vectors;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * {@code generate DIR} writes Java's batches, each with its description; {@code verify DIR} reads
 * batches that somebody else wrote and compares what Java sees with the description beside them.
 */
public final class Main {
    public static void main(String[] args) throws IOException {
        if (args.length == 2 && args[0].equals("generate")) {
            generate(Path.of(args[1]));
        } else if (args.length == 2 && args[0].equals("verify")) {
            verify(Path.of(args[1]));
        } else {
            throw new IllegalArgumentException("usage: generate DIR | verify DIR");
        }
    }

    private static void generate(Path directory) throws IOException {
        Files.createDirectories(directory);
        for (Map.Entry<String, ByteBuffer> vector : Vectors.all().entrySet()) {
            ByteBuffer batch = vector.getValue();
            byte[] bytes = new byte[batch.remaining()];
            batch.duplicate().get(bytes);
            Files.write(directory.resolve(vector.getKey() + ".bin"), bytes);
            Files.writeString(directory.resolve(vector.getKey() + ".txt"), Description.of(batch));
        }
    }

    private static void verify(Path directory) throws IOException {
        List<Path> batches;
        try (var files = Files.list(directory)) {
            batches = files.filter(file -> file.toString().endsWith(".bin")).sorted().toList();
        }
        if (batches.isEmpty()) {
            throw new IllegalStateException("no .bin file in " + directory);
        }
        for (Path batch : batches) {
            String seen = Description.of(ByteBuffer.wrap(Files.readAllBytes(batch)));
            Path beside = Path.of(batch.toString().replaceAll("\\.bin$", ".txt"));
            String expected = Files.readString(beside);
            if (!seen.equals(expected)) {
                throw new IllegalStateException(
                        batch + " reads as\n" + seen + "but was described as\n" + expected);
            }
        }
        System.out.println("verified " + batches.size() + " batches");
    }
}
