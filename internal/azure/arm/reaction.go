package arm

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"jitgate/internal/access"
)

// reaction is what to do about an answer of ARM.
type reaction int

const (
	// giveUp for now: the caller's queue tries again later.
	giveUp reaction = iota
	// wait a little, then read and plan again: somebody else is writing, or wrote.
	wait
	// once more like wait; if it happens to the same rule again, refuse.
	once
	// refuse: this write is refused for good. Others may go through.
	refuse
	// forbid: Azure does not let us see this, for good.
	forbid
	// gone: it does not exist.
	gone
)

// reactions says what we do about each answer, to a read and to a write. The
// first row that fits counts. Writes include their operations: one that was
// accepted and ended badly shows as an error with a 2xx status, which is how
// azcore's pollers report it. Sources: "B.1" stands for codes seen with two
// writers on one NSG (azure-cli#21156, azure-sdk-for-python#556, terraform#7986,
// kubernetes#77210). What is said to be from memory is UNVERIFIED.
var reactions = []struct {
	low, high   int      // status, both ends included
	codes       []string // none = any
	read, write reaction
}{
	// B.1: resource lock of the network provider, mostly 429, also as the end of an
	// operation. The name promises that another try may do.
	{100, 599, []string{"RetryableError"}, wait, wait},
	// B.1: a later write superseded ours. Whether the rule is there afterwards is
	// known only after reading.
	{100, 599, []string{"Canceled", "CanceledAndSupersededDueToAnotherOperation"}, wait, wait},
	// Management locks come as 409 (from memory), which would otherwise look like
	// somebody else's write; waiting does not open them. A lock against deletion does
	// not stop a PUT of the whole group without the rule (azure-powershell#8365).
	{100, 599, []string{"ScopeLocked"}, forbid, refuse},
	// A disabled subscription is read-only, also 409 (from memory).
	{409, 409, []string{"ReadOnlyDisabledSubscription"}, forbid, refuse},
	// Priority taken by another rule. Somebody was faster, and the next plan goes
	// round it; or it is a rule of ours that we may not delete, then it stays so.
	{100, 599, []string{"SecurityRuleConflict"}, forbid, once},
	// Throttling, after the SDK has waited and tried itself (azcore policy_retry.go).
	{429, 429, nil, wait, wait},
	// B.1: AnotherOperationInProgress, ConflictingConcurrentWriteNotAllowed and
	// their like.
	{409, 409, nil, wait, wait},
	// If-Match lost (kubernetes#77210): the group was changed since we read it.
	{412, 412, nil, wait, wait},
	// The group may have gone between reading and writing; reading again tells.
	{404, 404, []string{"ResourceNotFound", "ResourceGroupNotFound", "ParentResourceNotFound", "NotFound"}, gone, wait},
	// A subscription we cannot see may hold our rules still, so it does not count
	// as gone: nobody may record access as closed because of it.
	{404, 404, []string{subscriptionNotFound}, forbid, refuse},
	// Any other 404 is not ARM speaking about the resource: a proxy, a wrong
	// endpoint, or an operation whose record has expired.
	{404, 404, nil, giveUp, wait},
	// Too slow or too early; the SDK has tried a few times.
	{408, 408, nil, giveUp, giveUp},
	// 400: the rule is not to Azure's liking. 401, 403: missing role, deny
	// assignment, Azure Policy (RequestDisallowedByPolicy). Others: nothing that
	// another try would change.
	{400, 499, nil, forbid, refuse},
	// An operation that was accepted and failed, for a reason not listed above.
	{200, 299, nil, giveUp, once},
	// Default: 5xx, and whatever nobody thought of.
	{0, 999, nil, giveUp, giveUp},
}

const subscriptionNotFound = "SubscriptionNotFound"

// The two kinds of call; the same answer means different things to each.
const (
	reading = false
	writing = true
)

// failure is an answer of ARM as an error that fits on one line. The SDK's own
// prints the whole exchange.
type failure struct {
	write         bool
	status        int
	code, message string
	retryAfter    time.Duration
	cause         error
}

func (f *failure) Error() string {
	if f.status == 0 {
		return f.cause.Error()
	}
	return fmt.Sprintf("Azure answers %d %s: %s", f.status, f.code, f.message)
}

func (f *failure) Unwrap() error { return f.cause }

// failed makes a failure of an error of the SDK. Status 0 means that there was no
// answer: no network, no token, or the context has ended.
func failed(err error, write bool) *failure {
	f := &failure{write: write, cause: err}
	var answer *azcore.ResponseError
	if !errors.As(err, &answer) {
		return f
	}
	f.status, f.code = answer.StatusCode, answer.ErrorCode
	if answer.RawResponse == nil {
		return f
	}
	f.retryAfter = retryAfter(answer.RawResponse.Header)
	var body struct {
		Error struct {
			Message string `json:"message"`
			Details []struct {
				Code    string `json:"code"`
				Message string `json:"message"`
			} `json:"details"`
		} `json:"error"`
	}
	if text, err := runtime.Payload(answer.RawResponse); err == nil && json.Unmarshal(text, &body) == nil {
		f.message = body.Error.Message
		for _, d := range body.Error.Details {
			f.message += " " + d.Code + ": " + d.Message
		}
	}
	return f
}

// retryAfter reads the header's seconds; ARM does not send dates.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func (f *failure) reaction() reaction {
	if f.status == 0 {
		return giveUp
	}
	for _, row := range reactions {
		if row.low <= f.status && f.status <= row.high && (row.codes == nil || slices.Contains(row.codes, f.code)) {
			if f.write {
				return row.write
			}
			return row.read
		}
	}
	return giveUp
}

// unread turns the failure of a read into an error of the port.
func unread(what string, err error) error {
	f := failed(err, reading)
	kind := access.ErrUnavailable
	switch f.reaction() {
	case gone:
		kind = access.ErrNotFound
	case forbid:
		kind = access.ErrForbidden
	}
	return fmt.Errorf("read %s: %w: %w", what, kind, f)
}
