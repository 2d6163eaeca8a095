// sarama: an idempotent producer, then a consumer of each partition.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/IBM/sarama"
)

func main() {
	bootstrap, topic := []string{os.Args[1]}, os.Args[2]
	count, err := strconv.Atoi(os.Args[3])
	must(err)

	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1 // what sarama wants of an idempotent producer
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Compression = sarama.CompressionLZ4
	client, err := sarama.NewClient(bootstrap, config)
	must(err)
	defer client.Close()

	produce(client, topic, count)
	for partition := int32(0); partition < 2; partition++ {
		consume(client, topic, partition, count)
	}
	fmt.Println("ok", count)
}

func produce(client sarama.Client, topic string, count int) {
	producer, err := sarama.NewSyncProducerFromClient(client)
	must(err)
	defer producer.Close()
	messages := make([]*sarama.ProducerMessage, count)
	for number := range messages {
		messages[number] = &sarama.ProducerMessage{
			Topic:     topic,
			Partition: int32(number % 2),
			Key:       sarama.StringEncoder(fmt.Sprintf("key %d", number)),
			Value:     sarama.StringEncoder(fmt.Sprintf("value %d", number)),
		}
	}
	must(producer.SendMessages(messages))
	for number, message := range messages {
		if message.Offset != int64(number/2) {
			log.Fatalf("record %d was acked at offset %d", number, message.Offset)
		}
	}
}

func consume(client sarama.Client, topic string, partition int32, count int) {
	consumer, err := sarama.NewConsumerFromClient(client)
	must(err)
	defer consumer.Close()
	reader, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
	must(err)
	defer reader.Close()
	for number := int(partition); number < count; number += 2 {
		select {
		case message := <-reader.Messages():
			if string(message.Key) != fmt.Sprintf("key %d", number) ||
				string(message.Value) != fmt.Sprintf("value %d", number) {
				log.Fatalf("offset %d holds %q: %q", message.Offset, message.Key, message.Value)
			}
		case <-time.After(time.Minute):
			log.Fatalf("record %d did not arrive", number)
		}
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
