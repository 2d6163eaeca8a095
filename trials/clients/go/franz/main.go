// franz-go: its default, idempotent producer with every codec, then a consumer of both partitions.
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

var codecs = []kgo.CompressionCodec{
	kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
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
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()

	for fifth, codec := range codecs {
		trip.produce(ctx, codec, count*fifth/5, count*(fifth+1)/5)
	}
	trip.consume(ctx, kgo.NewOffset().AtStart(), 0)
	trip.consume(ctx, kgo.NewOffset().AfterMilli(start.UnixMilli()+int64(count)/2), count/2)
	fmt.Println("ok", count)
}

func (t trip) at(number int) time.Time {
	return t.start.Add(time.Duration(number) * time.Millisecond)
}

func (t trip) produce(ctx context.Context, codec kgo.CompressionCodec, first, end int) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(t.bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codec),
	)
	must(err)
	defer client.Close()
	var records []*kgo.Record
	for number := first; number < end; number++ {
		records = append(records, &kgo.Record{
			Topic:     t.topic,
			Partition: int32(number % 2),
			Key:       fmt.Appendf(nil, "key %d", number),
			Value:     fmt.Appendf(nil, "value %d", number),
			Headers:   []kgo.RecordHeader{{Key: "number", Value: fmt.Appendf(nil, "%d", number)}},
			Timestamp: t.at(number),
		})
	}
	must(client.ProduceSync(ctx, records...).FirstErr())
	for index, record := range records {
		if number := first + index; record.Offset != int64(number/2) {
			log.Fatalf("record %d was acked at offset %d", number, record.Offset)
		}
	}
}

// Reads what follows from offset; record number first must be the first of all.
func (t trip) consume(ctx context.Context, offset kgo.Offset, first int) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(t.bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.topic: {0: offset, 1: offset}}),
	)
	must(err)
	defer client.Close()
	next := [2]int64{int64(first+1) / 2, int64(first) / 2}
	for seen := first; seen < t.count; {
		fetches := client.PollFetches(ctx)
		must(fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			if record.Offset != next[record.Partition] {
				log.Fatalf("offset %d of partition %d instead of %d", record.Offset, record.Partition, next[record.Partition])
			}
			t.check(record)
			next[record.Partition]++
			seen++
		})
	}
}

func (t trip) check(record *kgo.Record) {
	number := int(record.Offset)*2 + int(record.Partition)
	if string(record.Key) != fmt.Sprintf("key %d", number) ||
		string(record.Value) != fmt.Sprintf("value %d", number) ||
		len(record.Headers) != 1 || record.Headers[0].Key != "number" ||
		string(record.Headers[0].Value) != strconv.Itoa(number) ||
		!record.Timestamp.Equal(t.at(number)) {
		log.Fatalf("offset %d of partition %d holds %+v", record.Offset, record.Partition, record)
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
