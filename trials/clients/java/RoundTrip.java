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
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The Java client: its default, idempotent producer, then a consumer of both partitions. */
public final class RoundTrip {
    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0];
        String topic = arguments[1];
        int count = Integer.parseInt(arguments[2]);
        produce(bootstrap, topic, count);
        consume(bootstrap, topic, count);
        System.out.println("ok " + count);
    }

    private static void produce(String bootstrap, String topic, int count) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "compression.type", "lz4");
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            List<Future<RecordMetadata>> answers = new ArrayList<>();
            for (int number = 0; number < count; number++) {
                answers.add(producer.send(
                        new ProducerRecord<>(topic, number % 2, "key " + number, "value " + number)));
            }
            for (int number = 0; number < count; number++) {
                require(answers.get(number).get().offset() == number / 2, "acked offsets are dense and in order");
            }
        }
    }

    private static void consume(String bootstrap, String topic, int count) {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "earliest");
        try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            var partitions = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
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
                }
            }
        }
    }

    private static void require(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
