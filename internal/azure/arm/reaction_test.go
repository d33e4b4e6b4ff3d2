package arm

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

func answer(status int, body string, header ...string) error {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	r, _ := http.NewRequest(http.MethodPut, "https://management.azure.com/x", nil)
	return runtime.NewResponseError(&http.Response{StatusCode: status, Header: h, Request: r, Body: io.NopCloser(strings.NewReader(body))})
}

func TestReactions(t *testing.T) {
	code := func(c string) string { return `{"error":{"code":"` + c + `","message":"because"}}` }
	superseded := `{"status":"Canceled","error":{"code":"Canceled","message":"Operation was canceled.","details":[{"code":"CanceledAndSupersededDueToAnotherOperation","message":"by b"}]}}`
	for name, test := range map[string]struct {
		err         error
		read, write reaction
	}{
		"429":                            {answer(429, code("TooManyRequests")), wait, wait},
		"429 of the network provider":    {answer(429, code("RetryableError")), wait, wait},
		"an operation that may retry":    {answer(200, code("RetryableError")), wait, wait},
		"an operation superseded":        {answer(200, superseded), wait, wait},
		"an operation failed":            {answer(200, code("InternalServerError")), giveUp, once},
		"409":                            {answer(409, code("AnotherOperationInProgress")), wait, wait},
		"409 without a code":             {answer(409, ""), wait, wait},
		"412":                            {answer(412, code("PreconditionFailed")), wait, wait},
		"a lock":                         {answer(409, code("ScopeLocked")), forbid, refuse},
		"a disabled subscription":        {answer(409, code("ReadOnlyDisabledSubscription")), forbid, refuse},
		"a priority taken":               {answer(400, code("SecurityRuleConflict")), forbid, once},
		"another 400":                    {answer(400, code("InvalidRequestFormat")), forbid, refuse},
		"401":                            {answer(401, code("InvalidAuthenticationToken")), forbid, refuse},
		"403":                            {answer(403, code("AuthorizationFailed")), forbid, refuse},
		"403 by Azure Policy":            {answer(403, code("RequestDisallowedByPolicy")), forbid, refuse},
		"a resource that does not exist": {answer(404, code("ResourceNotFound")), gone, wait},
		"a group that does not exist":    {answer(404, code("ResourceGroupNotFound")), gone, wait},
		"a parent that does not exist":   {answer(404, code("ParentResourceNotFound")), gone, wait},
		"a subscription unknown":         {answer(404, code("SubscriptionNotFound")), forbid, refuse},
		"a 404 of a proxy":               {answer(404, "<html>"), giveUp, wait},
		"408":                            {answer(408, ""), giveUp, giveUp},
		"405":                            {answer(405, ""), forbid, refuse},
		"500":                            {answer(500, code("InternalServerError")), giveUp, giveUp},
		"503":                            {answer(503, ""), giveUp, giveUp},
		"a status nobody thought of":     {answer(799, ""), giveUp, giveUp},
		"no answer":                      {errors.New("connection refused"), giveUp, giveUp},
		"no time":                        {context.DeadlineExceeded, giveUp, giveUp},
		"an answer without its response": {&azcore.ResponseError{StatusCode: 403}, forbid, refuse},
	} {
		t.Run(name, func(t *testing.T) {
			if got := failed(test.err, reading).reaction(); got != test.read {
				t.Errorf("reading: %d, want %d", got, test.read)
			}
			f := failed(test.err, writing)
			if got := f.reaction(); got != test.write {
				t.Errorf("writing: %d, want %d", got, test.write)
			}
			if !errors.Is(f, test.err) || strings.Contains(f.Error(), "\n") {
				t.Errorf("the failure reads %q", f)
			}
		})
	}
}

// TestEveryAnswerHasARow makes sure that the default row is one.
func TestEveryAnswerHasARow(t *testing.T) {
	last := reactions[len(reactions)-1]
	if last.codes != nil || last.low > 0 || last.high < 999 || last.read != giveUp || last.write != giveUp {
		t.Errorf("the last row does not take the rest: %+v", last)
	}
	for _, row := range reactions {
		if row.read == once || row.read == refuse || row.write == forbid || row.write == gone {
			t.Errorf("no such reaction to that kind of call: %+v", row)
		}
	}
}

func TestFailureSaysWhatAzureSaid(t *testing.T) {
	f := failed(answer(429, `{"error":{"code":"RetryableError","message":"A retryable error occurred.","details":[{"code":"ReferencedResourceNotProvisioned","message":"nsg-a is updating"}]}}`, "Retry-After", "7"), writing)
	if want := "Azure answers 429 RetryableError: A retryable error occurred. ReferencedResourceNotProvisioned: nsg-a is updating"; f.Error() != want {
		t.Errorf("got %q", f)
	}
	if f.retryAfter != 7*time.Second {
		t.Errorf("Retry-After %s", f.retryAfter)
	}
	for _, bad := range []string{"", "soon", "-1"} {
		if got := failed(answer(429, "", "Retry-After", bad), writing).retryAfter; got != 0 {
			t.Errorf("Retry-After %q: %s", bad, got)
		}
	}
}
