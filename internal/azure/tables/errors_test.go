package tables

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"jitgate/internal/access"
	local "jitgate/internal/local/tables"
	"jitgate/internal/policy"
)

var sentinels = []error{access.ErrNotFound, access.ErrExists, access.ErrUnavailable, access.ErrForbidden, errClash}

// wantOnly wants exactly one of the sentinels, or none when want is nil.
func wantOnly(t *testing.T, err, want error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, s := range sentinels {
		if errors.Is(err, s) != (s == want) {
			t.Errorf("error %q: is %q %v", err, s, errors.Is(err, s))
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the text runs over several lines:\n%v", err)
	}
}

func TestFailuresOfTransactions(t *testing.T) {
	s := newAccount(t).store(t)
	ctx := t.Context()
	if err := s.grants.write(ctx, insert("p", "r", columns{"A": "1"})); err != nil {
		t.Fatal(err)
	}
	first, err := s.grants.get(ctx, "p", "r")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.grants.write(ctx, merge(first, columns{"A": "2"})); err != nil {
		t.Fatal(err)
	}
	missing := row{pk: "p", rk: "gone", etag: first.etag}
	wide := columns{}
	if err := wide.setText("A", strings.Repeat("x", 10*partUnits)); err != nil {
		t.Fatal(err)
	}
	wide["B"] = strings.Repeat("x", partUnits+1000)
	for name, c := range map[string]struct {
		changes []change
		want    error
	}{
		"insert what exists":      {[]change{insert("p", "new", nil), insert("p", "r", nil)}, access.ErrExists},
		"merge an old version":    {[]change{insert("p", "new", nil), merge(first, columns{"A": "3"})}, errClash},
		"replace an old version":  {[]change{replace(first, columns{"A": "3"})}, errClash},
		"delete an old version":   {[]change{remove(first)}, errClash},
		"merge what is missing":   {[]change{merge(missing, columns{"A": "3"})}, access.ErrNotFound},
		"replace what is missing": {[]change{replace(missing, columns{"A": "3"})}, access.ErrNotFound},
		"delete what is missing":  {[]change{remove(missing)}, access.ErrNotFound},
		"delete unread, missing":  {[]change{removeAny("p", "gone")}, access.ErrNotFound},
		"a property too large":    {[]change{insert("p", "new", wide)}, nil},
		"a row twice":             {[]change{insert("p", "new", nil), note("p", "new")}, nil},
		"two partitions":          {[]change{insert("p", "new", nil), insert("q", "new", nil)}, nil},
		"more than one hundred":   {make([]change, maxChanges+1), nil},
		"a row without its ETag":  {[]change{merge(row{pk: "p", rk: "r"}, columns{"A": "3"})}, nil},
		"a deletion without ETag": {[]change{remove(row{pk: "p", rk: "r"})}, nil},
		"a key that is not a key": {[]change{insert("p", "a#b", nil)}, nil},
		"a value of unknown kind": {[]change{insert("p", "new", columns{"A": make(chan int)})}, nil},
	} {
		t.Run(name, func(t *testing.T) { wantOnly(t, s.grants.write(ctx, c.changes...), c.want) })
	}
	// None of them changed anything, and none brought a row to life.
	if got := keysOf(t, s.grants, ""); len(got) != 1 {
		t.Errorf("rows %q, want one", got)
	}
	if now, err := s.grants.get(ctx, "p", "r"); err != nil || now.columns["A"] != "2" {
		t.Errorf("columns %v, error %v", now.columns, err)
	}
	// To swap, they all mean the same.
	for _, c := range []change{insert("p", "r", nil), merge(first, nil), remove(missing)} {
		if err := s.grants.swap(ctx, c); !errors.Is(err, errClash) {
			t.Errorf("error %v, want a clash", err)
		}
	}
}

// A table that is missing must not look like one that is empty.
func TestMissingTables(t *testing.T) {
	a := newAccount(t)
	s, err := New(Config{ConnectionString: a.connection, Transport: a.http.Client(), Prefix: "misspelt"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, err = s.Request(ctx, sample(1).ID)
	wantOnly(t, err, access.ErrUnavailable)
	_, err = s.List(ctx, access.Query{})
	wantOnly(t, err, access.ErrUnavailable)
	_, err = s.PoliciesAt(ctx, policy.Tenant)
	wantOnly(t, err, access.ErrUnavailable)
	_, err = s.AlertRules(ctx)
	wantOnly(t, err, access.ErrUnavailable)
	_, err = s.Ledger(ctx) // would read as "no lockdown is in force"
	wantOnly(t, err, access.ErrUnavailable)
	_, err = s.Signal(ctx, signalKey(1))
	wantOnly(t, err, access.ErrUnavailable)
	_, err = s.Touch(ctx, nsgID)
	wantOnly(t, err, access.ErrUnavailable)
	wantOnly(t, s.InsertRequest(ctx, sample(1), made), access.ErrUnavailable)
	wantOnly(t, s.lookups.write(ctx, note("p", "r")), access.ErrUnavailable)

	for range 2 {
		if err := s.EnsureTables(ctx); err != nil {
			t.Fatal(err)
		}
	}
	insertSample(t, s)
	wantListed(t, s, access.Query{}, 1)
	other := a.store(t) // without the prefix
	wantListed(t, other, access.Query{})
}

func TestStatuses(t *testing.T) {
	a := newAccount(t)
	s := a.store(t)
	for _, c := range []struct {
		fault local.Fault
		want  error
	}{
		{local.Fault{Status: 503, Code: "ServerBusy", RetryAfter: time.Millisecond}, access.ErrUnavailable},
		{local.Fault{Status: 500, Code: "OperationTimedOut", RetryAfter: time.Millisecond}, access.ErrUnavailable},
		{local.Fault{Status: 429, Code: "TooManyRequests", RetryAfter: time.Millisecond}, access.ErrUnavailable},
		{local.Fault{Status: 409, Code: "TableBeingDeleted"}, access.ErrUnavailable},
		{local.Fault{Status: 403, Code: "AuthorizationPermissionMismatch"}, access.ErrForbidden},
		{local.Fault{Status: 404, Code: "SomethingNew"}, nil}, // not "there is no such row"
		{local.Fault{Status: 400, Code: "InvalidInput"}, nil},
		{local.Fault{Status: 409, Code: "SomethingNew"}, nil},
	} {
		a.SetFaults(func(local.Op) *local.Fault { return &c.fault }, nil)
		_, err := s.grants.get(t.Context(), "p", "r")
		wantOnly(t, err, c.want)
		wantOnly(t, s.grants.write(t.Context(), note("p", "r")), c.want)
		for _, err := range s.grants.rows(t.Context(), "", 10) {
			wantOnly(t, err, c.want)
		}
		var response *azcore.ResponseError
		if !errors.As(err, &response) || response.StatusCode != c.fault.Status {
			t.Errorf("the cause of %v is not reachable", err)
		}
	}
}

func TestNoAnswer(t *testing.T) {
	a := newAccount(t)
	s := a.store(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Request(ctx, sample(1).ID)
	wantOnly(t, err, access.ErrUnavailable)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v does not tell that the caller gave up", err)
	}
	wantOnly(t, s.InsertRequest(ctx, sample(1), made), access.ErrUnavailable)

	a.http.CloseClientConnections()
	wrong, err := New(Config{ConnectionString: strings.Replace(a.connection, "AccountKey=", "AccountKey=AAAA", 1), Transport: a.http.Client()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = wrong.Head(t.Context(), nsgID)
	wantOnly(t, err, access.ErrForbidden)
}

func FuzzInnerFailure(f *testing.F) {
	whole := "--batch\r\nContent-Type: multipart/mixed; boundary=set\r\n\r\n--set\r\nContent-Type: application/http\r\n\r\n" +
		"HTTP/1.1 412 Precondition Failed\r\nContent-Type: application/json\r\n\r\n" +
		`{"odata.error":{"code":"UpdateConditionNotSatisfied","message":{"lang":"en-US","value":"0:No."}}}` + "\r\n--set--\r\n--batch--\r\n"
	for _, text := range []string{whole, whole[:200], "", "{}", `{"odata.error":{"code":"InvalidInput"}}`, "--\n--\n", "--a\n\n--b\n\nHTTP/1.1 200 OK\n\n--b--\n--a--"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		resp := &http.Response{StatusCode: http.StatusAccepted, Body: io.NopCloser(bytes.NewReader(data))}
		status, code := innerFailure(resp)
		if string(data) == whole && (status != 412 || code != "UpdateConditionNotSatisfied") {
			t.Errorf("read as %d %s", status, code)
		}
		if status != 0 && status < 400 && status != http.StatusAccepted {
			t.Errorf("status %d is no failure", status)
		}
	})
}
