package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"jitgate/internal/api"
	"jitgate/internal/notify"
)

// inbox is a receiver of signed webhooks, as a customer would run one: it takes only
// what jitgate has signed.
type inbox struct {
	server *httptest.Server
	secret []byte

	mu     sync.Mutex
	notes  []api.Notice
	forged int
}

func newInbox() *inbox {
	b := &inbox{secret: []byte("a secret that both sides know")}
	b.server = httptest.NewServer(b)
	return b
}

// channel is the setting that has jitgate tell the inbox.
func (b *inbox) channel() string {
	text, err := json.Marshal([]map[string]any{{"name": "demo", "kind": "webhook", "url": b.server.URL, "secret": string(b.secret)}})
	if err != nil {
		panic(err) // strings always encode
	}
	return string(text)
}

func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	var note struct{ Data api.Notice }
	if err == nil {
		err = notify.Verify(b.secret, r.Header, body, time.Now())
	}
	if err == nil {
		err = json.Unmarshal(body, &note)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.forged++
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	b.notes = append(b.notes, note.Data)
}

// told waits until a notice about an event of a machine has come.
func (b *inbox) told(s *story, event, machine string) error {
	for range 100 {
		b.mu.Lock()
		at := slices.IndexFunc(b.notes, func(n api.Notice) bool { return n.Event == event && strings.Contains(n.Title+" "+n.VM, machine) })
		var note api.Notice
		if at >= 0 {
			note = b.notes[at]
			b.notes = slices.Delete(b.notes, at, at+1)
		}
		forged := b.forged
		b.mu.Unlock()
		switch {
		case forged > 0:
			return fmt.Errorf("%d notices bear no valid signature", forged)
		case at >= 0:
			s.saw("told: %s", note.Title)
			return nil
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("nobody was told of %s", event)
}
