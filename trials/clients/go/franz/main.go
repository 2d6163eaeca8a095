// franz-go: its default, idempotent producer, then a consumer of both partitions.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	bootstrap, topic := os.Args[1], os.Args[2]
	count, err := strconv.Atoi(os.Args[3])
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()

	produce(ctx, bootstrap, topic, count)
	consume(ctx, bootstrap, topic, count)
	fmt.Println("ok", count)
}

func produce(ctx context.Context, bootstrap, topic string, count int) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.SnappyCompression()),
	)
	must(err)
	defer client.Close()
	records := make([]*kgo.Record, count)
	for number := range records {
		records[number] = &kgo.Record{
			Topic:     topic,
			Partition: int32(number % 2),
			Key:       fmt.Appendf(nil, "key %d", number),
			Value:     fmt.Appendf(nil, "value %d", number),
		}
	}
	must(client.ProduceSync(ctx, records...).FirstErr())
	for number, record := range records {
		if record.Offset != int64(number/2) {
			log.Fatalf("record %d was acked at offset %d", number, record.Offset)
		}
	}
}

func consume(ctx context.Context, bootstrap, topic string, count int) {
	start := kgo.NewOffset().AtStart()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: start, 1: start}}),
	)
	must(err)
	defer client.Close()
	next := [2]int64{}
	for seen := 0; seen < count; {
		fetches := client.PollFetches(ctx)
		must(fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			number := record.Offset*2 + int64(record.Partition)
			if record.Offset != next[record.Partition] ||
				string(record.Key) != fmt.Sprintf("key %d", number) ||
				string(record.Value) != fmt.Sprintf("value %d", number) {
				log.Fatalf("offset %d of partition %d holds %q: %q", record.Offset, record.Partition, record.Key, record.Value)
			}
			next[record.Partition]++
			seen++
		})
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
