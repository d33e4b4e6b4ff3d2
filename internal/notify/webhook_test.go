package notify

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func signed(secret []byte, id, body string, at time.Time) http.Header {
	h := http.Header{}
	sign(h, secret, id, []byte(body), at)
	return h
}

// TestSignatureIsWhatIsDocumented has a value made by another program:
// printf '1803643200.n1.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
func TestSignatureIsWhatIsDocumented(t *testing.T) {
	at := time.Unix(1803643200, 0)
	h := signed([]byte("0123456789abcdef"), "n1", `{"a":1}`, at)
	if got := h.Get("X-Jit-Signature"); got != "v1=1fb46d7b4408267581bb5293b4c159eee31b1ef7ab5700452f03629dc59de3be" {
		t.Error(got)
	}
	if h.Get("X-Jit-Timestamp") != "1803643200" || h.Get("X-Jit-Id") != "n1" {
		t.Error(h)
	}
	if err := Verify([]byte("0123456789abcdef"), h, []byte(`{"a":1}`), at); err != nil {
		t.Error(err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	const text = `{"a":1.5}`
	for name, change := range map[string]func(h http.Header, body *string, secret *[]byte, now *time.Time){
		"another body":    func(_ http.Header, body *string, _ *[]byte, _ *time.Time) { *body += " " },
		"no body":         func(_ http.Header, body *string, _ *[]byte, _ *time.Time) { *body = "" },
		"another secret":  func(_ http.Header, _ *string, s *[]byte, _ *time.Time) { *s = []byte("another secret of mine") },
		"no secret":       func(_ http.Header, _ *string, s *[]byte, _ *time.Time) { *s = nil },
		"another id":      func(h http.Header, _ *string, _ *[]byte, _ *time.Time) { h.Set(IDHeader, "n2") },
		"another time":    func(h http.Header, _ *string, _ *[]byte, now *time.Time) { h.Set(TimestampHeader, "1803643201") },
		"a time in words": func(h http.Header, _ *string, _ *[]byte, _ *time.Time) { h.Set(TimestampHeader, "now") },
		"too late":        func(_ http.Header, _ *string, _ *[]byte, now *time.Time) { *now = now.Add(MaxSkew + time.Second) },
		"too early":       func(_ http.Header, _ *string, _ *[]byte, now *time.Time) { *now = now.Add(-MaxSkew - time.Second) },
		"no signature":    func(h http.Header, _ *string, _ *[]byte, _ *time.Time) { h.Del(SignatureHeader) },
		"no timestamp":    func(h http.Header, _ *string, _ *[]byte, _ *time.Time) { h.Del(TimestampHeader) },
		"no id":           func(h http.Header, _ *string, _ *[]byte, _ *time.Time) { h.Del(IDHeader) },
		"two signatures":  func(h http.Header, _ *string, _ *[]byte, _ *time.Time) { h.Add(SignatureHeader, "v1=00") },
		"two ids":         func(h http.Header, _ *string, _ *[]byte, _ *time.Time) { h.Add(IDHeader, "n2") },
		"half a signature": func(h http.Header, _ *string, _ *[]byte, _ *time.Time) {
			h.Set(SignatureHeader, h.Get(SignatureHeader)[:35])
		},
		"an empty signature": func(h http.Header, _ *string, _ *[]byte, _ *time.Time) { h.Set(SignatureHeader, "v1=") },
		"a bare signature": func(h http.Header, _ *string, _ *[]byte, _ *time.Time) {
			h.Set(SignatureHeader, h.Get(SignatureHeader)[3:])
		},
		"a later version": func(h http.Header, _ *string, _ *[]byte, _ *time.Time) {
			h.Set(SignatureHeader, "v2"+h.Get(SignatureHeader)[2:])
		},
		"no hexadecimal": func(h http.Header, _ *string, _ *[]byte, _ *time.Time) {
			h.Set(SignatureHeader, "v1="+strings.Repeat("x", 64))
		},
		"body moved into id": func(h http.Header, body *string, _ *[]byte, _ *time.Time) { h.Set(IDHeader, `n1.{"a":1`); *body = "5}" },
		"id moved into body": func(h http.Header, body *string, _ *[]byte, _ *time.Time) { h.Set(IDHeader, ""); *body = "n1." + *body },
		"id moved into times": func(h http.Header, _ *string, _ *[]byte, _ *time.Time) {
			h.Set(TimestampHeader, "1803643200.n1")
			h.Set(IDHeader, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			now, secret, body := time.Unix(1803643200, 0), secretKey, text
			h := signed(secret, "n1", body, now)
			if err := Verify(secret, h, []byte(body), now); err != nil {
				t.Fatal(err)
			}
			change(h, &body, &secret, &now)
			err := Verify(secret, h, []byte(body), now)
			if !errors.Is(err, ErrSignature) {
				t.Errorf("got %v", err)
			}
			hasNoSecret(t, err)
		})
	}
}

func TestSkew(t *testing.T) {
	for _, skew := range []time.Duration{0, MaxSkew, -MaxSkew, time.Second} {
		if err := Verify(secretKey, signed(secretKey, "n1", "{}", noon), []byte("{}"), noon.Add(skew)); err != nil {
			t.Errorf("%v: %v", skew, err)
		}
	}
	// Signed with the right secret, but at a time that no duration reaches.
	for _, at := range []time.Time{time.Unix(1<<62, 0), time.Unix(-1<<62, 0), time.Unix(0, 0)} {
		if err := Verify(secretKey, signed(secretKey, "n1", "{}", at), []byte("{}"), noon); !errors.Is(err, ErrSignature) {
			t.Errorf("%d: %v", at.Unix(), err)
		}
	}
}

func TestShortSecretsAreRefused(t *testing.T) {
	short := secretKey[:minSecret-1]
	if err := Verify(short, signed(short, "n1", "{}", noon), []byte("{}"), noon); !errors.Is(err, ErrSignature) {
		t.Errorf("got %v", err)
	}
}

// TestARepeatedDeliveryHasANewTimestamp: the queue may bring a notice hours later,
// and the receiver must still take it.
func TestARepeatedDeliveryHasANewTimestamp(t *testing.T) {
	w := newWorld(t, status(503))
	for range 2 {
		fails(t, w.Send(t.Context(), target(Webhook), notice()), ErrRetry, "503")
		last := len(w.calls) - 1
		if err := Verify(secretKey, w.calls[last].Header, []byte(w.bodies[last]), w.clock.Now()); err != nil {
			t.Error(err)
		}
		w.clock.Advance(3 * time.Hour)
	}
	if w.calls[0].Header.Get(IDHeader) != w.calls[1].Header.Get(IDHeader) || w.bodies[0] != w.bodies[1] {
		t.Error("a receiver cannot tell that it is the same notice")
	}
}

func TestAnyChangeBreaksTheSignature(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.SliceOfN(rapid.Byte(), minSecret, 64).Draw(t, "secret")
		id := rapid.StringMatching(`[A-Za-z0-9_-]{1,128}`).Draw(t, "id")
		text := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		h := http.Header{}
		sign(h, secret, id, text, noon)
		if err := Verify(secret, h, text, noon); err != nil {
			t.Fatal(err)
		}
		if len(text) > 0 {
			i := rapid.IntRange(0, len(text)-1).Draw(t, "where")
			text[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
			if Verify(secret, h, text, noon) == nil {
				t.Error("another body passes")
			}
		}
	})
}

// FuzzVerify: what comes from outside never passes without the secret.
func FuzzVerify(f *testing.F) {
	f.Add("v1=00", "1803643200", "n1", []byte("{}"))
	f.Add("", "-9223372036854775808", ".", []byte(nil))
	f.Fuzz(func(t *testing.T, signature, timestamp, id string, content []byte) {
		h := http.Header{SignatureHeader: {signature}, TimestampHeader: {timestamp}, IDHeader: {id}}
		if err := Verify(secretKey, h, content, noon); !errors.Is(err, ErrSignature) {
			t.Errorf("got %v", err)
		}
	})
}
