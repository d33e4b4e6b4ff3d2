package notify

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// slow is a sender whose other end reads the request, writes the text, and then
// neither writes nor hangs up. Time is the bubble's.
func slow(t *testing.T, text string) *Sender {
	t.Helper()
	s, err := New(Options{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	s.guard.dial = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer func() { _ = there.Close() }()
			if r, err := http.ReadRequest(bufio.NewReader(there)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(there, text)
				_, _ = io.Copy(io.Discard, there) // until the sender hangs up
			}
		}()
		return here, nil
	}
	return s
}

func TestSlowReceiversAreLeft(t *testing.T) {
	to := Target{Kind: Teams, URL: "http://127.0.0.1:9/s3cr3t?sig=s3cr3t"}
	for name, c := range map[string]struct {
		text    string
		verdict error // nil = accepted
	}{
		"no answer":     {"", ErrRetry},
		"half a head":   {"HTTP/1.1 200 OK\r\nX-S3cr3t: s3cr3t", ErrRetry},
		"only the head": {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", nil},
		"half a body":   {"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\ns3cr3t", nil},
		"bad, and slow": {"HTTP/1.1 422 s3cr3t\r\nContent-Length: 100\r\n\r\ns3cr3t", ErrGone},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				err := slow(t, c.text).Send(t.Context(), to, notice())
				if took := time.Since(start); took != callTimeout {
					t.Errorf("took %v, want %v", took, callTimeout)
				}
				switch {
				case c.verdict != nil:
					fails(t, err, c.verdict, "")
				case err != nil:
					t.Error(err)
				}
			})
		})
	}
}

func TestAddressesThatDoNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Options{CallbackHosts: []string{"hooks.example.com"}})
		if err != nil {
			t.Fatal(err)
		}
		dials := 0
		s.guard.resolver = &world{answers: [][]string{{"20.0.0.1", "20.0.0.2", "20.0.0.3", "20.0.0.4", "20.0.0.5"}}}
		s.guard.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			dials++
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s.timeout = time.Minute
		fails(t, s.Send(t.Context(), target(Teams), notice()), ErrRetry, "in time")
		if dials != maxAddresses {
			t.Errorf("tried %d addresses, want %d", dials, maxAddresses)
		}
	})
}
