package bus_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"jitgate/internal/azure/bus"
	"jitgate/internal/local/servicebus"
)

// TestTheLastWordHasAMessageOfItsOwn: within the minute in which the queue drops repeats, an
// alert that takes another one's place is no repeat of it.
func TestTheLastWordHasAMessageOfItsOwn(t *testing.T) {
	server, err := servicebus.New(servicebus.Options{Config: servicebus.Config{Queues: []servicebus.Queue{
		{Name: bus.RequestsQueue, LockDuration: time.Minute, MaxDeliveryCount: 10, RequiresDuplicateDetection: true, DuplicateDetectionHistoryTimeWindow: time.Minute},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	connection := servicebus.ConnectionString(l.Addr().String())
	queue, err := bus.New(bus.Config{ConnectionString: connection})
	if err != nil {
		t.Fatal(err)
	}
	client, err := azservicebus.NewClientFromConnectionString(connection, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = queue.Close(context.Background()); _ = client.Close(context.Background()) })
	key, first := strings.Repeat("ab", 32), time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	for _, filed := range []time.Time{first, first, first.Add(time.Microsecond)} {
		if err := queue.Signal(t.Context(), key, filed); err != nil {
			t.Fatal(err)
		}
	}
	r, err := client.NewReceiverForQueue(bus.RequestsQueue, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for range 2 {
		got, err := r.ReceiveMessages(t.Context(), 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		seen[got[0].MessageID]++
	}
	peeked, err := r.PeekMessages(t.Context(), 10, &azservicebus.PeekMessagesOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || len(peeked) != 2 {
		t.Errorf("messages %v, %d in the queue; want two", seen, len(peeked))
	}
}
