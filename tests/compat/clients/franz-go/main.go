// franz-go produces, consumes and administers against a cluster.
//
// Usage: franz-go BOOTSTRAP. Exits with 0 when everything is as it should be. See member.go for
// `franz-go member`.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const recordCount = 2000

var bootstrap = os.Args[1]

func main() {
	if os.Args[1] == "member" {
		member(os.Args[2:])
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	admin := kadm.NewClient(client())
	defer admin.Close()

	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for name, codec := range codecs {
		topic := "franz-" + name
		createTopic(ctx, admin, topic, 3)
		produce(ctx, topic, codec)
		consume(ctx, topic)
		say("%d records with %s, keys and headers, idempotent", recordCount, name)
	}
	checkTimestamps(ctx, admin)
	say("offsets by timestamp")
	checkLarge(ctx, admin)
	say("large records")
	checkAdministration(ctx, admin)
	say("topics, settings, partitions, records: created, changed and deleted")
}

func client(options ...kgo.Opt) *kgo.Client {
	made, err := kgo.NewClient(append(options, kgo.SeedBrokers(bootstrap))...)
	must(err)
	return made
}

func record(topic string, number int) *kgo.Record {
	return &kgo.Record{
		Topic: topic,
		Key:   fmt.Appendf(nil, "key-%d", number%50),
		Value: bytes.Repeat(fmt.Appendf(nil, "value %d ", number), 5),
		Headers: []kgo.RecordHeader{
			{Key: "n", Value: fmt.Append(nil, number)}, {Key: "n", Value: []byte("again")},
		},
	}
}

func produce(ctx context.Context, topic string, codec kgo.CompressionCodec) {
	producer := client(kgo.ProducerBatchCompression(codec), kgo.RequiredAcks(kgo.AllISRAcks()))
	defer producer.Close()
	records := make([]*kgo.Record, recordCount)
	for number := range records {
		records[number] = record(topic, number)
	}
	must(producer.ProduceSync(ctx, records...).FirstErr())
}

func consume(ctx context.Context, topic string) {
	consumer := client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer consumer.Close()
	seen := map[string]bool{}
	next := map[int32]int64{}
	for len(seen) < recordCount {
		fetches := consumer.PollFetches(ctx)
		must(fetches.Err())
		fetches.EachRecord(func(got *kgo.Record) {
			check(got.Offset == next[got.Partition], "offset %d after %d", got.Offset, next[got.Partition])
			next[got.Partition]++
			check(len(got.Headers) == 2 && got.Headers[1].Key == "n", "headers %v", got.Headers)
			number := string(got.Headers[0].Value)
			check(!seen[number], "record %s came twice", number)
			seen[number] = true
		})
	}
}

func checkTimestamps(ctx context.Context, admin *kadm.Client) {
	listed, err := admin.ListOffsetsAfterMilli(ctx, time.Now().Add(-time.Hour).UnixMilli(), "franz-none")
	must(err)
	must(listed.Error())
	listed.Each(func(at kadm.ListedOffset) {
		check(at.Offset == 0, "an hour ago is before offset %d", at.Offset)
	})
	ends, err := admin.ListEndOffsets(ctx, "franz-none")
	must(err)
	total := int64(0)
	ends.Each(func(at kadm.ListedOffset) { total += at.Offset })
	check(total == recordCount, "ends add up to %d", total)
}

func checkLarge(ctx context.Context, admin *kadm.Client) {
	createTopic(ctx, admin, "franz-large", 1)
	producer := client()
	defer producer.Close()
	large := &kgo.Record{Topic: "franz-large", Value: bytes.Repeat([]byte("x"), 900_000)}
	must(producer.ProduceSync(ctx, large).FirstErr())

	unbounded := client(kgo.ProducerBatchMaxBytes(4_000_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer unbounded.Close()
	larger := &kgo.Record{Topic: "franz-large", Value: bytes.Repeat([]byte("x"), 2_000_000)}
	err := unbounded.ProduceSync(ctx, larger).FirstErr()
	check(errors.Is(err, kerr.MessageTooLarge), "too large a record gave %v", err)
}

func checkAdministration(ctx context.Context, admin *kadm.Client) {
	createTopic(ctx, admin, "franz-admin", 2)
	again, err := admin.CreateTopic(ctx, 1, 1, nil, "franz-admin")
	check(errors.Is(again.Err, kerr.TopicAlreadyExists) || errors.Is(err, kerr.TopicAlreadyExists),
		"creating twice gave %v, %v", again.Err, err)

	value := "70000"
	changed, err := admin.AlterTopicConfigs(ctx,
		[]kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, "franz-admin")
	must(err)
	must(changed[0].Err)
	until("the setting changes", func() bool {
		described, err := admin.DescribeTopicConfigs(ctx, "franz-admin")
		must(err)
		for _, setting := range described[0].Configs {
			if setting.Key == "retention.ms" {
				return setting.MaybeValue() == value
			}
		}
		return false
	})

	updated, err := admin.UpdatePartitions(ctx, 4, "franz-admin")
	must(err)
	must(updated.Error())
	until("partitions are added", func() bool {
		topics, err := admin.ListTopics(ctx, "franz-admin")
		must(err)
		return len(topics["franz-admin"].Partitions) == 4
	})

	deleted, err := admin.DeleteTopic(ctx, "franz-admin")
	must(err)
	must(deleted.Err)
	metadata, err := admin.BrokerMetadata(ctx)
	must(err)
	check(metadata.Cluster != "" && len(metadata.Brokers) > 0, "the cluster has no id or brokers")
}

func createTopic(ctx context.Context, admin *kadm.Client, topic string, partitions int32) {
	created, err := admin.CreateTopic(ctx, partitions, 1, nil, topic)
	must(err)
	must(created.Err)
	until(topic+" has leaders", func() bool {
		topics, err := admin.ListTopics(ctx, topic)
		must(err)
		for _, partition := range topics[topic].Partitions {
			if partition.Leader < 0 || partition.Err != nil {
				return false
			}
		}
		return topics[topic].Err == nil
	})
}

func until(what string, condition func() bool) {
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(50 * time.Millisecond) {
		check(time.Now().Before(deadline), "%s: not within 30 s", what)
	}
}

func say(format string, arguments ...any) {
	fmt.Printf("franz-go: "+format+"\n", arguments...)
}

func check(holds bool, format string, arguments ...any) {
	if !holds {
		must(fmt.Errorf(format, arguments...))
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "franz-go: %v\n", err)
		os.Exit(1)
	}
}
