package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// member is one member of a consumer group.
//
// Usage: franz-go member BOOTSTRAP GROUP TOPIC ASSIGNOR SESSION_MS [INSTANCE]. It says what
// group_member.py says.
func member(arguments []string) {
	sessionMillis, err := strconv.Atoi(arguments[4])
	must(err)
	balancer := kgo.RangeBalancer()
	if arguments[3] == "cooperative" {
		balancer = kgo.CooperativeStickyBalancer()
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(arguments[0], ",")...),
		kgo.ConsumerGroup(arguments[1]),
		kgo.ConsumeTopics(arguments[2]),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.Balancers(balancer),
		kgo.SessionTimeout(time.Duration(sessionMillis) * time.Millisecond),
		kgo.HeartbeatInterval(300 * time.Millisecond),
		kgo.MetadataMinAge(time.Second),
		kgo.MetadataMaxAge(2 * time.Second),
		kgo.OnPartitionsAssigned(sayPartitions("assigned")),
		kgo.OnPartitionsRevoked(sayPartitions("revoked")),
		kgo.OnPartitionsLost(sayPartitions("lost")),
	}
	if len(arguments) > 5 {
		options = append(options, kgo.InstanceID(arguments[5]))
	}
	consumer, err := kgo.NewClient(options...)
	must(err)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for ctx.Err() == nil {
		pollOnce(ctx, consumer)
	}
	if len(arguments) > 5 {
		consumer.Close()
	} else {
		consumer.LeaveGroup()
		consumer.Close()
	}
	fmt.Println("closed")
}

func pollOnce(ctx context.Context, consumer *kgo.Client) {
	polling, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	records := consumer.PollRecords(polling, 50).Records()
	next := map[int32]int64{}
	for _, record := range records {
		fmt.Println("record", record.Partition, record.Offset)
		next[record.Partition] = record.Offset + 1
	}
	if len(records) == 0 {
		return
	}
	if err := consumer.CommitRecords(context.Background(), records...); err != nil {
		fmt.Println("commit-failed", err)
		return
	}
	for partition, offset := range next {
		fmt.Println("committed", partition, offset)
	}
}

func sayPartitions(what string) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
		words := []string{what}
		for _, partitions := range topics {
			for _, partition := range partitions {
				words = append(words, fmt.Sprint(partition))
			}
		}
		fmt.Fprintln(os.Stdout, strings.Join(words, " "))
	}
}
