package tables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	"jitgate/internal/audit"
	local "jitgate/internal/local/tables"
)

// oops is a failure that the SDK repeats at once.
var oops = &local.Fault{Status: 500, Code: "InternalError", RetryAfter: time.Millisecond}

// undertaking is one call of the store with what must hold afterwards.
type undertaking struct {
	name    string
	prepare func(*testing.T, *Store)
	do      func(context.Context, *Store) error
	// done checks the outcome of a call that succeeded, or that failed half-way and was
	// made again.
	done func(t *testing.T, s *Store)
	// again accepts the result of the second call; nil wants no error.
	again func(error) bool
}

var undertakings = []undertaking{
	{
		name: "InsertRequest",
		do:   func(ctx context.Context, s *Store) error { return s.InsertRequest(ctx, sample(1), made) },
		done: func(t *testing.T, s *Store) {
			wantListed(t, s, access.Query{}, 1)
			wantListed(t, s, access.Query{Unfinished: true}, 1)
			wantEvents(t, s, 1, "made")
		},
		again: func(err error) bool { return err == nil || errors.Is(err, access.ErrExists) },
	},
	{
		name:    "UpdateRequest",
		prepare: insertSample,
		do: func(ctx context.Context, s *Store) error {
			_, err := s.UpdateRequest(ctx, sample(1).ID, func(r *access.Request) ([]audit.Event, error) {
				if r.Targets[0].State == access.Denied {
					return nil, nil
				}
				r.Targets[0].State = access.Denied
				return []audit.Event{{Text: "denied"}}, nil
			})
			return err
		},
		done: func(t *testing.T, s *Store) {
			wantEvents(t, s, 1, "made", "denied")
			wantListed(t, s, access.Query{State: access.Denied}, 1)
			wantListed(t, s, access.Query{Unfinished: true})
		},
	},
	{
		name:    "WithdrawRequest",
		prepare: insertSample,
		do:      func(ctx context.Context, s *Store) error { return s.WithdrawRequest(ctx, sample(1).ID) },
		done: func(t *testing.T, s *Store) {
			wantListed(t, s, access.Query{})
			wantEvents(t, s, 1)
		},
	},
	{
		name:    "PutGrants",
		prepare: putSamples,
		do: func(ctx context.Context, s *Store) error {
			closing := sampleGrant(1)
			closing.Closing = true
			generation, now, err := s.PutGrants(ctx, nsgID, []access.Grant{closing, sampleGrant(3)})
			if err == nil && (!now[0].Closing || now[1].Closing || generation < 2) {
				err = fmt.Errorf("generation %d, grants %+v", generation, now)
			}
			return err
		},
		done: func(t *testing.T, s *Store) {
			b := wantBook(t, s, "1 closing", "2", "3")
			if b.Generation == b.Enforced {
				t.Error("nothing tells that the NSG has to be looked at")
			}
		},
	},
	{
		name:    "SetWakeUp",
		prepare: putSamples,
		do:      func(ctx context.Context, s *Store) error { return s.SetWakeUp(ctx, nsgID, sample(1).ID, 5) },
		done:    func(t *testing.T, s *Store) { wantBook(t, s, "1 wakes 5", "2 wakes 5") },
	},
	{
		name: "Touch",
		do: func(ctx context.Context, s *Store) error {
			_, err := s.Touch(ctx, nsgID)
			return err
		},
		done: func(t *testing.T, s *Store) { wantBook(t, s) },
	},
	{
		name:    "Settle",
		prepare: putSamples,
		do: func(ctx context.Context, s *Store) error {
			return s.Settle(ctx, nsgID, access.Settlement{Enforced: 1, NextDue: noon,
				Opened: []string{sampleGrant(1).Key()}, Closed: []string{sampleGrant(2).Key()}})
		},
		done: func(t *testing.T, s *Store) {
			b := wantBook(t, s, "1 opened")
			if b.Enforced != 1 || !b.NextDue.Equal(noon) {
				t.Errorf("head %+v", b.Head)
			}
		},
	},
	{
		name: "PutPolicy",
		do: func(ctx context.Context, s *Store) error {
			p, err := s.PutPolicy(ctx, samplePolicy(22), person, noon)
			if err == nil && p.Version != 1 {
				err = fmt.Errorf("version %d", p.Version)
			}
			return err
		},
		done: func(t *testing.T, s *Store) {
			list, err := s.ListPolicies(t.Context())
			if err != nil || len(list) != 1 || list[0].Version != 1 {
				t.Errorf("policies %v, error %v", list, err)
			}
		},
	},
	{
		name:    "Reads",
		prepare: func(t *testing.T, s *Store) { insertSample(t, s); putSamples(t, s); putSamplePolicy(t, s) },
		do: func(ctx context.Context, s *Store) error {
			_, err := s.Request(ctx, sample(1).ID)
			_, err2 := s.Events(ctx, sample(1).ID)
			page, err3 := s.List(ctx, access.Query{})
			_, err4 := s.Book(ctx, nsgID)
			books := 0
			err5 := s.Books(ctx, func(access.Book) error { books++; return nil })
			_, err6 := s.Policy(ctx, samplePolicy(22).Scope)
			list, err7 := s.ListPolicies(ctx)
			err = errors.Join(err, err2, err3, err4, err5, err6, err7)
			if err == nil && (len(page.Requests) != 1 || books != 1 || len(list) != 1) {
				err = errors.New("something is missing")
			}
			return err
		},
		done: func(*testing.T, *Store) {},
	},
}

// begin opens a store prepared for u.
func begin(t *testing.T, u undertaking) (*account, *Store) {
	a := newAccount(t)
	s := a.store(t)
	if u.prepare != nil {
		u.prepare(t, s)
	}
	return a, s
}

// operations counts what u asks of the service.
func operations(t *testing.T, u undertaking) int {
	a, s := begin(t, u)
	before := sum(a.Counts())
	if err := u.do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	u.done(t, s)
	return sum(a.Counts()) - before
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// Each operation in turn is carried out and then reported as failed. The SDK
// repeats it, and the caller must not notice.
func TestAnswerLost(t *testing.T) {
	for _, u := range undertakings {
		t.Run(u.name, func(t *testing.T) {
			for k := range operations(t, u) {
				a, s := begin(t, u)
				var n atomic.Int64
				a.SetFaults(nil, func(local.Op) *local.Fault {
					if n.Add(1) == int64(k+1) {
						return oops
					}
					return nil
				})
				if err := u.do(t.Context(), s); err != nil {
					t.Fatalf("answer %d lost: %v", k+1, err)
				}
				a.SetFaults(nil, nil)
				u.done(t, s)
			}
		})
	}
}

// The process is cut off: one operation is carried out but its answer is lost, and
// nothing gets through afterwards. The call says so, and made again by somebody
// else it leads to the same end.
func TestCutOff(t *testing.T) {
	for _, u := range undertakings {
		t.Run(u.name, func(t *testing.T) {
			for k := range operations(t, u) {
				a, s := begin(t, u)
				var n atomic.Int64
				a.SetFaults(
					func(local.Op) *local.Fault {
						if n.Add(1) > int64(k+1) {
							return oops
						}
						return nil
					},
					func(local.Op) *local.Fault {
						if n.Load() >= int64(k+1) {
							return oops
						}
						return nil
					})
				err := u.do(t.Context(), s)
				a.SetFaults(nil, nil)
				// Failing to tidy up the index is not the caller's concern, hence nil.
				if err != nil && !errors.Is(err, access.ErrUnavailable) {
					t.Fatalf("cut off at operation %d: %v, want ErrUnavailable", k+1, err)
				}
				second := a.store(t)
				err = u.do(t.Context(), second)
				if u.again != nil && !u.again(err) || u.again == nil && err != nil {
					t.Fatalf("cut off at operation %d, then again: %v", k+1, err)
				}
				u.done(t, second)
			}
		})
	}
}

// A broken connection is no different from a bad answer.
func TestConnectionLost(t *testing.T) {
	u := undertakings[1]
	a, s := begin(t, u)
	var n atomic.Int64
	a.SetFaults(nil, func(op local.Op) *local.Fault {
		if op.Kind == "transaction" && n.Add(1) == 1 {
			return &local.Fault{Drop: true}
		}
		return nil
	})
	if err := u.do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	u.done(t, s)
}

// The insert dies between index and request. The leftovers are not seen, and the
// caller's repeat is seen once.
func TestInsertDiesHalfWay(t *testing.T) {
	a := newAccount(t)
	s := a.store(t)
	a.SetFaults(func(op local.Op) *local.Fault {
		if op.Table == "requests" && op.Kind == "transaction" {
			return oops
		}
		return nil
	}, nil)
	if err := s.InsertRequest(t.Context(), sample(1), made); !errors.Is(err, access.ErrUnavailable) {
		t.Fatalf("error %v, want ErrUnavailable", err)
	}
	a.SetFaults(nil, nil)
	if len(keysOf(t, s.lookups, "open|")) != 1 {
		t.Fatal("the index was not written first")
	}
	wantListed(t, s, access.Query{})
	wantListed(t, s, access.Query{Unfinished: true})
	wantListed(t, s, access.Query{Requester: person})

	later := sample(1)
	later.CreatedAt = later.CreatedAt.Add(time.Second)
	if err := s.InsertRequest(t.Context(), later, made); err != nil {
		t.Fatal(err)
	}
	for _, q := range []access.Query{{}, {Unfinished: true}, {Requester: person}, {VM: later.Targets[0].VM}} {
		wantListed(t, s, q, 1)
	}
}

// The index cannot be written: then there must be no request either.
func TestInsertWithoutIndex(t *testing.T) {
	a := newAccount(t)
	s := a.store(t)
	a.SetFaults(func(op local.Op) *local.Fault {
		if op.Table == "lookups" {
			return oops
		}
		return nil
	}, nil)
	if err := s.InsertRequest(t.Context(), sample(1), made); !errors.Is(err, access.ErrUnavailable) {
		t.Fatalf("error %v, want ErrUnavailable", err)
	}
	a.SetFaults(nil, nil)
	if _, err := s.Request(t.Context(), sample(1).ID); !errors.Is(err, access.ErrNotFound) {
		t.Fatalf("error %v, want ErrNotFound", err)
	}
}

// The row of an unfinished request stays behind. It is not believed, and goes when
// it is met.
func TestLeftOverOpenRow(t *testing.T) {
	a := newAccount(t)
	s := a.store(t)
	insertSample(t, s)
	a.SetFaults(func(op local.Op) *local.Fault {
		if op.Table == "lookups" && op.Kind == "transaction" {
			return oops
		}
		return nil
	}, nil)
	if err := undertakings[1].do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	a.SetFaults(nil, nil)
	if got := keysOf(t, s.lookups, "open|"); len(got) != 1 {
		t.Fatalf("open rows %q, want the one that could not be deleted", got)
	}
	wantListed(t, s, access.Query{Unfinished: true})
	if got := keysOf(t, s.lookups, "open|"); len(got) != 0 {
		t.Fatalf("open rows %q are still there", got)
	}
}

// storm has somebody else change the row ahead of each of our transactions, so
// that each fails as it does in Azure: 202 outside, 412 inside.
func storm(t *testing.T, a *account, table string, times int64, disturb func() error) *atomic.Int64 {
	var mine atomic.Bool
	var blows atomic.Int64
	a.SetFaults(func(op local.Op) *local.Fault {
		if op.Table != table || op.Kind != "transaction" || blows.Load() == times || !mine.CompareAndSwap(false, true) {
			return nil
		}
		defer mine.Store(false)
		blows.Add(1)
		if err := disturb(); err != nil {
			t.Error(err)
		}
		return nil
	}, nil)
	return &blows
}

func TestStorm(t *testing.T) {
	for _, endless := range []bool{false, true} {
		t.Run(fmt.Sprint("endless=", endless), func(t *testing.T) {
			t.Parallel()
			times := int64(20)
			if endless {
				times = -1
			}
			check := func(t *testing.T, blows int64, err error) {
				if endless && (!errors.Is(err, access.ErrUnavailable) || errors.Is(err, errClash) || blows != maxAttempts) {
					t.Fatalf("error %v after %d clashes, want ErrUnavailable after %d", err, blows, maxAttempts)
				}
				if !endless && (err != nil || blows != times) {
					t.Fatalf("error %v after %d clashes", err, blows)
				}
			}
			count := func(s *Store) error {
				_, err := s.UpdateRequest(context.Background(), sample(1).ID, func(r *access.Request) ([]audit.Event, error) {
					n, _ := strconv.Atoi(r.Justification)
					r.Justification = strconv.Itoa(n + 1)
					return []audit.Event{{Text: r.Justification}}, nil
				})
				return err
			}
			t.Run("UpdateRequest", func(t *testing.T) {
				t.Parallel()
				a := newAccount(t)
				s, other := a.store(t), a.store(t)
				insertSample(t, s)
				blows := storm(t, a, "requests", times, func() error { return count(other) })
				err := count(s)
				check(t, blows.Load(), err)
				r, err := s.Request(t.Context(), sample(1).ID)
				want := blows.Load()
				if !endless {
					want++
				}
				if err != nil || r.Justification != strconv.FormatInt(want, 10) || r.Events != int(want)+1 {
					t.Fatalf("counted %s in %d events, error %v; want %d", r.Justification, r.Events, err, want)
				}
			})
			t.Run("PutGrants", func(t *testing.T) {
				t.Parallel()
				a := newAccount(t)
				s, other := a.store(t), a.store(t)
				blows := storm(t, a, "grants", times, func() error {
					_, err := other.Touch(context.Background(), nsgID)
					return err
				})
				generation, _, err := s.PutGrants(t.Context(), nsgID, []access.Grant{sampleGrant(1)})
				check(t, blows.Load(), err)
				if !endless && generation != times+1 {
					t.Fatalf("generation %d, want %d", generation, times+1)
				}
			})
		})
	}
}

// A wait between two attempts ends with the caller's patience.
func TestContendEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	attempts := 0
	err := contend(ctx, "it", func() error {
		attempts++
		cancel()
		return errClash
	})
	// A pause that is over at the same moment may win once or twice.
	if !errors.Is(err, access.ErrUnavailable) || !errors.Is(err, context.Canceled) || attempts > 10 {
		t.Fatalf("error %v after %d attempts, want ErrUnavailable and Canceled", err, attempts)
	}
}

// The settlement of a burst takes several transactions. Dying in between leaves
// the NSG unsettled, and the next settlement completes it.
func TestSettleDiesHalfWay(t *testing.T) {
	a := newAccount(t)
	s := a.store(t)
	settlement := access.Settlement{NextDue: noon}
	for n := range 150 {
		generation, _, err := s.PutGrants(t.Context(), nsgID, []access.Grant{sampleGrant(n)})
		if err != nil {
			t.Fatal(err)
		}
		settlement.Enforced = generation
		settlement.Closed = append(settlement.Closed, sampleGrant(n).Key())
	}
	var n atomic.Int64
	a.SetFaults(func(op local.Op) *local.Fault {
		if op.Kind == "transaction" && n.Add(1) > 1 {
			return oops
		}
		return nil
	}, nil)
	if err := s.Settle(t.Context(), nsgID, settlement); !errors.Is(err, access.ErrUnavailable) {
		t.Fatalf("error %v, want ErrUnavailable", err)
	}
	a.SetFaults(nil, nil)
	b, err := s.Book(t.Context(), nsgID)
	if err != nil || len(b.Grants) != 50 || b.Enforced != 0 {
		t.Fatalf("%d grants left and enforced %d, error %v; want 50 and 0", len(b.Grants), b.Enforced, err)
	}
	if err := s.Settle(t.Context(), nsgID, settlement); err != nil {
		t.Fatal(err)
	}
	if b := wantBook(t, s); b.Enforced != 150 {
		t.Fatalf("enforced %d", b.Enforced)
	}
}

// A request that was decided is not withdrawn: somebody was told that it counts.
func TestWithdrawDecided(t *testing.T) {
	s := newAccount(t).store(t)
	insertSample(t, s)
	if err := undertakings[1].do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := s.WithdrawRequest(t.Context(), sample(1).ID); err == nil || errors.Is(err, access.ErrUnavailable) {
		t.Fatalf("error %v, want one that is final", err)
	}
	wantEvents(t, s, 1, "made", "denied")
}

func wantListed(t *testing.T, s *Store, q access.Query, want ...int) {
	t.Helper()
	page, err := s.List(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var got, ids []string
	for _, r := range page.Requests {
		got = append(got, r.ID)
	}
	for _, n := range want {
		ids = append(ids, sample(n).ID)
	}
	if d := cmp.Diff(ids, got); d != "" || page.Next != "" {
		t.Fatalf("listed for %+v (-want +got), cursor %q:\n%s", q, page.Next, d)
	}
}

func wantEvents(t *testing.T, s *Store, request int, want ...string) {
	t.Helper()
	events, err := s.Events(t.Context(), sample(request).ID)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, e := range events {
		got = append(got, e.Text)
		if e.Sequence != i+1 {
			t.Errorf("event %d has the number %d", i+1, e.Sequence)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("events (-want +got):\n%s", d)
	}
}

// wantBook describes grants by target and whatever is not zero.
func wantBook(t *testing.T, s *Store, want ...string) access.Book {
	t.Helper()
	b, err := s.Book(t.Context(), nsgID)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range b.Grants {
		text := strconv.Itoa(g.Target)
		if g.WakeUp != 0 {
			text += fmt.Sprint(" wakes ", g.WakeUp)
		}
		if g.Opened {
			text += " opened"
		}
		if g.Closing {
			text += " closing"
		}
		got = append(got, text)
	}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("grants (-want +got):\n%s", d)
	}
	return b
}

// keysOf lists the row keys of a table that begin with prefix.
func keysOf(t *testing.T, from table, prefix string) []string {
	t.Helper()
	var out []string
	for found, err := range from.rows(t.Context(), "", pageSize) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(found.rk, prefix) {
			out = append(out, found.rk)
		}
	}
	return out
}
