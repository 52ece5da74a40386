// The NATS JetStream peer: a server with one stream on the disk, or the client that loads it.
//
//	nats serve DIR               serves on a port of its own choice, printed as a line
//	nats publish URL COUNT SIZE  publishes asynchronously, then waits for every acknowledgement
//	nats consume URL COUNT SIZE  reads everything through an ordered consumer
//
// The loads print the seconds that they took.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const subject = "bench.records"

func main() {
	switch os.Args[1] {
	case "serve":
		serve(os.Args[2])
	case "publish":
		publish(os.Args[2], number(3), number(4))
	case "consume":
		consume(os.Args[2], number(3))
	}
}

func serve(dir string) {
	made, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoSigs: true,
	})
	must(err)
	made.Start()
	if !made.ReadyForConnections(10 * time.Second) {
		must(fmt.Errorf("not ready within 10 s"))
	}
	fmt.Println(made.ClientURL())
	made.WaitForShutdown()
}

func publish(url string, count, size int) {
	stream := jetStream(url)
	// What an earlier run left.
	_ = stream.DeleteStream("BENCH")
	_, err := stream.AddStream(&nats.StreamConfig{
		Name: "BENCH", Subjects: []string{subject}, Storage: nats.FileStorage,
	})
	must(err)
	payload := make([]byte, size)
	for index := range payload {
		payload[index] = byte('a' + index%26)
	}
	started := time.Now()
	for range count {
		_, err := stream.PublishAsync(subject, payload)
		must(err)
	}
	<-stream.PublishAsyncComplete()
	fmt.Println(time.Since(started).Seconds())
}

func consume(url string, count int) {
	stream := jetStream(url)
	started := time.Now()
	done := make(chan struct{})
	seen := 0
	_, err := stream.Subscribe(subject, func(*nats.Msg) {
		if seen++; seen == count {
			close(done)
		}
	}, nats.OrderedConsumer(), nats.DeliverAll())
	must(err)
	<-done
	fmt.Println(time.Since(started).Seconds())
}

func jetStream(url string) nats.JetStreamContext {
	connection, err := nats.Connect(url)
	must(err)
	stream, err := connection.JetStream(nats.PublishAsyncMaxPending(4096))
	must(err)
	return stream
}

func number(argument int) int {
	value, err := strconv.Atoi(os.Args[argument])
	must(err)
	return value
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
