package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Headers of a Webhook call. The signature is "v1=" and the HMAC-SHA256, in
// hexadecimal, over timestamp, id and body with a full stop after each of the
// first two. The timestamp is when the call was made, in Unix seconds.
const (
	SignatureHeader = "X-Jit-Signature"
	TimestampHeader = "X-Jit-Timestamp"
	IDHeader        = "X-Jit-Id"
)

// MaxSkew is how far the timestamp of a call may be from the receiver's clock.
const MaxSkew = 5 * time.Minute

// minSecret is the least length of a webhook's secret, in bytes. A short one could
// be found by trying, from a single call.
const minSecret = 16

// ErrSignature: the call is not to be trusted. Answer 401 and do nothing.
var ErrSignature = errors.New("the webhook's signature is not valid")

// Verify is the receiver's side: it reports whether a Webhook call was made by
// whoever holds the secret, with this body and within MaxSkew of now. All errors
// are ErrSignature. The body must be the bytes that came, not JSON decoded and
// encoded again. A caller that must not act twice remembers the ids it has seen
// for twice MaxSkew: a repeated delivery has the same id and a new timestamp.
func Verify(secret []byte, headers http.Header, body []byte, now time.Time) error {
	refuse := func(why string) error { return fmt.Errorf("%w: %s", ErrSignature, why) }
	if len(secret) < minSecret {
		return refuse(fmt.Sprintf("the secret has less than %d bytes", minSecret))
	}
	var given [3]string
	for i, name := range []string{SignatureHeader, TimestampHeader, IDHeader} {
		values := headers.Values(name)
		if len(values) != 1 {
			return refuse("need one header " + name)
		}
		given[i] = values[0]
	}
	text, isV1 := strings.CutPrefix(given[0], "v1=")
	mac, err := hex.DecodeString(text)
	if !isV1 || err != nil {
		return refuse("the signature does not have the form v1=…")
	}
	seconds, err := strconv.ParseInt(given[1], 10, 64)
	if err != nil {
		return refuse("the timestamp is not a number of seconds")
	}
	if !validID(given[2]) {
		return refuse("the id has characters that ids do not have")
	}
	if !hmac.Equal(mac, sum(secret, given[1], given[2], body)) {
		return refuse("another secret, or the call was altered")
	}
	// In seconds: a time far off does not fit into a duration.
	if skew := seconds - now.Unix(); skew > int64(MaxSkew/time.Second) || skew < -int64(MaxSkew/time.Second) {
		return refuse("the call is too old, or the clocks differ by more than five minutes")
	}
	return nil
}

func sign(headers http.Header, secret []byte, id string, body []byte, now time.Time) {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	headers.Set(TimestampHeader, timestamp)
	headers.Set(IDHeader, id)
	headers.Set(SignatureHeader, "v1="+hex.EncodeToString(sum(secret, timestamp, id, body)))
}

func sum(secret []byte, timestamp, id string, body []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(timestamp + "." + id + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// validID keeps full stops out of ids: with them, a part of the body could be
// passed off as a part of the id under the same signature.
func validID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for _, c := range []byte(id) {
		if !isLetterOrDigit(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func isLetterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// webhookBody has around Data what any receiver needs to route and show a notice.
func webhookBody(n Notice) ([]byte, error) {
	return encode(struct {
		ID    string    `json:"id"`
		Event string    `json:"event"`
		At    time.Time `json:"at"`
		Title string    `json:"title"`
		Link  string    `json:"link,omitempty"`
		Data  any       `json:"data"`
	}{n.ID, n.Event, n.At.UTC(), n.title(maxTitle), n.link(), n.Data})
}
