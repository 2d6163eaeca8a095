import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The Java client: its default, idempotent producer with every codec, then a consumer of both partitions. */
public final class RoundTrip {
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");

    private final String bootstrap;
    private final String topic;
    private final int count;
    private final long start = System.currentTimeMillis() - 60_000;
    private final List<TopicPartition> partitions;

    private RoundTrip(String bootstrap, String topic, int count) {
        this.bootstrap = bootstrap;
        this.topic = topic;
        this.count = count;
        partitions = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
    }

    public static void main(String[] arguments) throws Exception {
        var trip = new RoundTrip(arguments[0], arguments[1], Integer.parseInt(arguments[2]));
        for (int fifth = 0; fifth < 5; fifth++) {
            trip.produce(CODECS.get(fifth), trip.count * fifth / 5, trip.count * (fifth + 1) / 5);
        }
        Map<String, Object> config = Map.of("bootstrap.servers", trip.bootstrap, "auto.offset.reset", "earliest");
        try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            trip.consume(consumer);
            trip.listOffsets(consumer);
        }
        System.out.println("ok " + trip.count);
    }

    private void produce(String codec, int first, int end) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "compression.type", codec);
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            List<Future<RecordMetadata>> answers = new ArrayList<>();
            for (int number = first; number < end; number++) {
                var record = new ProducerRecord<>(
                        topic, number % 2, start + number, "key " + number, "value " + number);
                record.headers().add(new RecordHeader("number", ("" + number).getBytes()));
                answers.add(producer.send(record));
            }
            for (int number = first; number < end; number++) {
                long offset = answers.get(number - first).get().offset();
                require(offset == number / 2, "acked offsets are dense and in order");
            }
        }
    }

    private void consume(KafkaConsumer<String, String> consumer) {
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        long[] next = new long[2];
        long deadline = System.nanoTime() + Duration.ofMinutes(1).toNanos();
        while (next[0] + next[1] < count) {
            require(System.nanoTime() < deadline, "only " + (next[0] + next[1]) + " of " + count + " arrived");
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
                long number = record.offset() * 2 + record.partition();
                require(record.offset() == next[record.partition()]++, "offsets are dense and in order");
                require(record.key().equals("key " + number), record.toString());
                require(record.value().equals("value " + number), record.toString());
                require(record.timestamp() == start + number, record.toString());
                var header = record.headers().lastHeader("number");
                require(header != null && new String(header.value()).equals("" + number), record.toString());
            }
        }
    }

    private void listOffsets(KafkaConsumer<String, String> consumer) {
        require(consumer.beginningOffsets(partitions).values().stream().allMatch(at -> at == 0), "they begin at 0");
        require(consumer.endOffsets(partitions).values().stream().allMatch(at -> at == count / 2), "they end");
        for (TopicPartition partition : partitions) {
            long middle = (count / 2 + 1 - partition.partition()) / 2;
            require(at(consumer, partition, start + count / 2) == middle, "in the middle of " + partition);
            require(at(consumer, partition, start - 1000) == 0, "before all of " + partition);
            require(at(consumer, partition, start + count) == -1, "behind all of " + partition);
        }
    }

    /** The first offset at or after a time, or -1. */
    private static long at(KafkaConsumer<String, String> consumer, TopicPartition partition, long time) {
        var found = consumer.offsetsForTimes(Map.of(partition, time)).get(partition);
        return found == null ? -1 : found.offset();
    }

    private static void require(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
