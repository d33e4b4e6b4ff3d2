// Package bus sends jitgate's nudges over Azure Service Bus. It implements
// access.Queue and nothing else: receiving is the Functions host's work. A message
// carries one id; it never carries a decision, because it may arrive twice, late
// or out of order.
package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"jitgate/internal/access"
	"jitgate/internal/armid"
)

// Names of the queues, as infra and every function.json have them.
const (
	RequestsQueue = "requests"
	NSGsQueue     = "nsgs"
	NoticesQueue  = "notices"
)

// sendWithin bounds one call. A caller of the API waits for it, and the answer to
// a queue that is down is 503 in seconds, not after the SDK's minutes.
const sendWithin = 10 * time.Second

// Config says which namespace; either a connection string or a namespace with a
// credential.
type Config struct {
	ConnectionString string
	Namespace        string // "name.servicebus.windows.net"
	Credential       azcore.TokenCredential
	Log              *slog.Logger
}

// Queue sends to all queues over one connection, opened at the first send.
type Queue struct {
	client                  *azservicebus.Client
	requests, nsgs, notices *azservicebus.Sender
}

var _ access.Queue = (*Queue)(nil)

// New prepares the senders. It does not connect.
func New(c Config) (*Queue, error) {
	options := &azservicebus.ClientOptions{RetryOptions: azservicebus.RetryOptions{
		MaxRetries: 3, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: 2 * time.Second,
	}}
	var client *azservicebus.Client
	var err error
	if c.ConnectionString != "" {
		client, err = azservicebus.NewClientFromConnectionString(c.ConnectionString, options)
	} else {
		client, err = azservicebus.NewClient(c.Namespace, c.Credential, options)
	}
	if err != nil {
		return nil, fmt.Errorf("service bus client: %w", err)
	}
	q := &Queue{client: client}
	for name, sender := range map[string]**azservicebus.Sender{RequestsQueue: &q.requests, NSGsQueue: &q.nsgs, NoticesQueue: &q.notices} {
		if *sender, err = client.NewSender(name, nil); err != nil {
			return nil, fmt.Errorf("sender for %s: %w", name, err)
		}
	}
	return q, nil
}

// Close ends the connection.
func (q *Queue) Close(ctx context.Context) error { return q.client.Close(ctx) }

// Evaluate implements access.Queue.
func (q *Queue) Evaluate(ctx context.Context, request string, events int) error {
	return send(ctx, q.requests, message(access.Nudge{Request: request}, request+"-"+strconv.Itoa(events)))
}

// EvaluateAt implements access.Queue.
func (q *Queue) EvaluateAt(ctx context.Context, request string, at time.Time) error {
	_, err := schedule(ctx, q.requests, message(access.Nudge{Request: request}, request+"-at-"+stamp(at)), at)
	return err
}

// Signal implements access.Queue.
func (q *Queue) Signal(ctx context.Context, key string, filed time.Time) error {
	return send(ctx, q.requests, message(access.Nudge{Signal: key}, key+"-"+strconv.FormatInt(filed.UnixNano(), 10)))
}

// Tell implements access.Queue.
func (q *Queue) Tell(ctx context.Context, request string, events int) error {
	return send(ctx, q.notices, notice(request, strconv.Itoa(events)))
}

// TellAt implements access.Queue.
func (q *Queue) TellAt(ctx context.Context, request string, at time.Time) error {
	_, err := schedule(ctx, q.notices, notice(request, "at-"+stamp(at)), at)
	return err
}

// notice is in a session that stands for the request or the ledger: two who told of
// one at the same time would both tell what neither has noted yet.
func notice(request, what string) *azservicebus.Message {
	nudge, session := access.Nudge{Request: request}, request
	if request == "" {
		nudge, session = access.Nudge{Ledger: true}, "ledger"
	}
	m := message(nudge, session+"-"+what)
	m.SessionID = &session
	return m
}

func stamp(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// Enforce implements access.Queue.
func (q *Queue) Enforce(ctx context.Context, id armid.ID, generation int64) error {
	return send(ctx, q.nsgs, forNSG(id, strconv.FormatInt(generation, 10)))
}

// EnforceAt implements access.Queue.
func (q *Queue) EnforceAt(ctx context.Context, id armid.ID, request string, at time.Time) (int64, error) {
	return schedule(ctx, q.nsgs, forNSG(id, request+"-"+stamp(at)), at)
}

func schedule(ctx context.Context, s *azservicebus.Sender, m *azservicebus.Message, at time.Time) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	sequences, err := s.ScheduleMessages(ctx, []*azservicebus.Message{m}, at, nil)
	if err != nil {
		return 0, unavailable(err)
	}
	if len(sequences) != 1 {
		return 0, fmt.Errorf("%w: one message scheduled, %d sequence numbers returned", access.ErrUnavailable, len(sequences))
	}
	return sequences[0], nil
}

// CancelWakeUp implements access.Queue. Service Bus answers "not found" for a
// message that fired or was cancelled before (MassTransit #926): there is nothing
// left to cancel, which is what was wanted.
func (q *Queue) CancelWakeUp(ctx context.Context, sequence int64) error {
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	err := q.nsgs.CancelScheduledMessages(ctx, []int64{sequence}, nil)
	var sbErr *azservicebus.Error
	if errors.As(err, &sbErr) && sbErr.Code == azservicebus.CodeNotFound {
		return nil
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// forNSG builds a nudge for an NSG. The session stands for the NSG, so that one
// writer at a time serves it. Message ids hold at most 128 characters: a quarter of
// the key is enough beside the session id, which tells NSGs apart already.
func forNSG(id armid.ID, what string) *azservicebus.Message {
	key := id.Key()
	m := message(access.Nudge{NSG: id}, key[:16]+"-"+what)
	m.SessionID = &key
	return m
}

func message(n access.Nudge, id string) *azservicebus.Message {
	body, err := json.Marshal(n)
	if err != nil {
		panic(err) // an id always encodes
	}
	contentType := "application/json"
	return &azservicebus.Message{Body: body, MessageID: &id, ContentType: &contentType}
}

func send(ctx context.Context, s *azservicebus.Sender, m *azservicebus.Message) error {
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	if err := s.SendMessage(ctx, m, nil); err != nil {
		return unavailable(err)
	}
	return nil
}

// unavailable: whatever keeps a message from being sent may pass, or is for the
// operator to mend; the caller can only try again.
func unavailable(err error) error {
	return fmt.Errorf("%w: service bus: %w", access.ErrUnavailable, err)
}
