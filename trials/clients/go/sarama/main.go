// sarama: idempotent producers of every codec, then a consumer of each partition.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/IBM/sarama"
)

var codecs = []sarama.CompressionCodec{
	sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD,
}

// One run: what is written, and when its first record claims to have been made.
type trip struct {
	bootstrap, topic string
	count            int
	start            time.Time
}

func main() {
	count, err := strconv.Atoi(os.Args[3])
	must(err)
	start := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	trip := trip{os.Args[1], os.Args[2], count, start}
	for fifth, codec := range codecs {
		trip.produce(codec, count*fifth/5, count*(fifth+1)/5)
	}
	client, err := sarama.NewClient([]string{trip.bootstrap}, config(sarama.CompressionNone))
	must(err)
	defer client.Close()
	for partition := int32(0); partition < 2; partition++ {
		trip.consume(client, partition)
		trip.listOffsets(client, partition)
	}
	fmt.Println("ok", count)
}

func config(codec sarama.CompressionCodec) *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1 // what sarama wants of an idempotent producer
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Compression = codec
	return config
}

func (t trip) at(number int) time.Time {
	return t.start.Add(time.Duration(number) * time.Millisecond)
}

func (t trip) produce(codec sarama.CompressionCodec, first, end int) {
	producer, err := sarama.NewSyncProducer([]string{t.bootstrap}, config(codec))
	must(err)
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for number := first; number < end; number++ {
		messages = append(messages, &sarama.ProducerMessage{
			Topic:     t.topic,
			Partition: int32(number % 2),
			Key:       sarama.StringEncoder(fmt.Sprintf("key %d", number)),
			Value:     sarama.StringEncoder(fmt.Sprintf("value %d", number)),
			Headers:   []sarama.RecordHeader{{Key: []byte("number"), Value: []byte(strconv.Itoa(number))}},
			Timestamp: t.at(number),
		})
	}
	must(producer.SendMessages(messages))
	for index, message := range messages {
		if number := first + index; message.Offset != int64(number/2) {
			log.Fatalf("record %d was acked at offset %d", number, message.Offset)
		}
	}
}

func (t trip) consume(client sarama.Client, partition int32) {
	consumer, err := sarama.NewConsumerFromClient(client)
	must(err)
	defer consumer.Close()
	reader, err := consumer.ConsumePartition(t.topic, partition, sarama.OffsetOldest)
	must(err)
	defer reader.Close()
	for number := int(partition); number < t.count; number += 2 {
		select {
		case message := <-reader.Messages():
			t.check(message, number)
		case <-time.After(time.Minute):
			log.Fatalf("record %d did not arrive", number)
		}
	}
}

func (t trip) check(message *sarama.ConsumerMessage, number int) {
	if message.Offset != int64(number/2) ||
		string(message.Key) != fmt.Sprintf("key %d", number) ||
		string(message.Value) != fmt.Sprintf("value %d", number) ||
		len(message.Headers) != 1 || string(message.Headers[0].Key) != "number" ||
		string(message.Headers[0].Value) != strconv.Itoa(number) ||
		!message.Timestamp.Equal(t.at(number)) {
		log.Fatalf("in the place of record %d there is %+v", number, message)
	}
}

func (t trip) listOffsets(client sarama.Client, partition int32) {
	half, end := int64(t.count/2), int64(t.count/2)
	middle := (half + 1 - int64(partition)) / 2
	for _, asked := range []struct{ time, offset int64 }{
		{sarama.OffsetOldest, 0},
		{sarama.OffsetNewest, end},
		{t.start.UnixMilli() - 1000, 0},
		{t.start.UnixMilli() + half, middle},
		{t.at(t.count).UnixMilli(), -1},
	} {
		offset, err := client.GetOffset(t.topic, partition, asked.time)
		must(err)
		if offset != asked.offset {
			log.Fatalf("partition %d has offset %d at %d, not %d", partition, offset, asked.time, asked.offset)
		}
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
