package servicebus_test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"jitgate/internal/local/servicebus"
)

// BenchmarkSendReceiveComplete measures whole messages through the SDK: sent
// one by one by several senders, received and completed one by one.
func BenchmarkSendReceiveComplete(b *testing.B) {
	s, err := servicebus.New(servicebus.Options{Config: queues, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	ctx := context.Background()
	client, err := azservicebus.NewClientFromConnectionString(servicebus.ConnectionString(l.Addr().String()), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close(ctx)
	const workers = 8
	work := make(chan struct{})
	var wg sync.WaitGroup
	for range workers {
		sender, err := client.NewSender("plain", nil)
		if err != nil {
			b.Fatal(err)
		}
		receiver, err := client.NewReceiverForQueue("plain", nil)
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			for range work {
				if err := sender.SendMessage(ctx, text("x"), nil); err != nil {
					b.Error(err)
				}
				m, err := receiver.ReceiveMessages(ctx, 1, nil)
				if err != nil || len(m) != 1 {
					b.Error(m, err)
					continue
				}
				if err := receiver.CompleteMessage(ctx, m[0], nil); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
