package tables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/audit"
	local "jitgate/internal/local/tables"
)

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

// Somebody else creates the protection while we do: ours then builds on his.
func TestCreateClash(t *testing.T) {
	a := newAccount(t)
	s, other := a.store(t), a.store(t)
	storm(t, a, "machines", 1, func() error { return protectSample(context.Background(), other, 1) })
	if err := protectSample(t.Context(), s, 2); err != nil {
		t.Fatal(err)
	}
	wantProtection(t, s, 2, "revision 1", "revision 2")
}

// Somebody else protects another machine while we protect ours: the two share a
// partition, and neither has to try again.
func TestMachinesDoNotClash(t *testing.T) {
	a := newAccount(t)
	s, other := a.store(t), a.store(t)
	neighbour := mustID(vmID.String() + "-2")
	protectNeighbour := func() error {
		_, err := other.UpdateProtection(context.Background(), neighbour, func(p *access.Protection) ([]audit.Event, error) {
			p.Revision++
			return []audit.Event{{Text: fmt.Sprint("neighbour ", p.Revision)}}, nil
		})
		return err
	}
	for revision := 1; revision <= 2; revision++ {
		blows := storm(t, a, "machines", -1, protectNeighbour)
		before := a.Counts()["transaction"]
		if err := protectSample(t.Context(), s, revision); err != nil {
			t.Fatal(err)
		}
		a.SetFaults(nil, nil)
		if got := a.Counts()["transaction"] - before; blows.Load() != 1 || got != 2 {
			t.Errorf("%d transactions for two machines, %d of them in between", got, blows.Load())
		}
	}
	wantProtection(t, s, 2, "revision 1", "revision 2")
	record, err := s.ProtectionEvents(t.Context(), neighbour)
	wantRecord(t, record, err, "neighbour 1", "neighbour 2")
}

// A guard is put between the two halves of a settlement, and the other way round.
// What was put stands, whichever was first.
func TestSettleAgainstPutGuard(t *testing.T) {
	confirmed := map[string]int{sampleGuard(1).Key(): 1}
	put := func(s *Store) error {
		_, err := s.PutGuard(context.Background(), nsgID, sampleGuard(2))
		return err
	}
	for name, settlement := range map[string]access.Settlement{
		"guarded":  {Enforced: 1, Guarded: confirmed},
		"let go":   {Enforced: 1, LetGo: confirmed},
		"released": {Enforced: 1, Released: confirmed},
	} {
		settle := func(s *Store) error { return s.Settle(context.Background(), nsgID, settlement) }
		for order, calls := range map[string][2]func(*Store) error{"put in between": {settle, put}, "settled in between": {put, settle}} {
			t.Run(name+" "+order, func(t *testing.T) {
				a := newAccount(t)
				s, other := a.store(t), a.store(t)
				putSampleGuard(t, s)
				blows := storm(t, a, "grants", 1, func() error { return calls[1](other) })
				if err := calls[0](s); err != nil {
					t.Fatal(err)
				}
				if b := wantBook(t, s, "guard 2"); b.Generation != 2 || b.Enforced != 1 || blows.Load() != 1 {
					t.Errorf("head %+v after %d clashes", b.Head, blows.Load())
				}
			})
		}
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
	dieAfter(a, 1)
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

// dieAfter lets so many transactions through and no more.
func dieAfter(a *account, most int64) {
	var n atomic.Int64
	a.SetFaults(func(op local.Op) *local.Fault {
		if op.Kind == "transaction" && n.Add(1) > most {
			return oops
		}
		return nil
	}, nil)
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

// loseAnswer has the next transaction carried out and reported as failed, after
// somebody else did something.
func loseAnswer(t *testing.T, a *account, disturb func() error) {
	var n atomic.Int64
	a.SetFaults(nil, func(op local.Op) *local.Fault {
		if op.Kind != "transaction" || n.Add(1) != 1 {
			return nil
		}
		if err := disturb(); err != nil {
			t.Error(err)
		}
		return oops
	})
}

// Something else happens to a grant between the two halves of extending it, and the
// other way round. Whichever was first, the new end stands, unconfirmed, and a
// closing grant is closing.
func TestExtendAgainst(t *testing.T) {
	longer := sampleGrant(1)
	longer.ExpiresAt = noon.Add(2 * time.Hour)
	putGrant := func(g access.Grant) func(*Store) error {
		return func(s *Store) error {
			_, _, err := s.PutGrants(context.Background(), nsgID, []access.Grant{g})
			return err
		}
	}
	closing, between := sampleGrant(1), longer
	closing.Closing, between.ExpiresAt = true, noon.Add(90*time.Minute)
	settle := func(settled access.Settlement) func(*Store) error {
		return func(s *Store) error { return s.Settle(context.Background(), nsgID, settled) }
	}
	key := []string{sampleGrant(1).Key()}
	for name, c := range map[string]struct {
		other        func(*Store) error
		last, first  string // what stands if the other is the last to be done, and the first
		earlierStays bool   // the end that was there, if the other is the first
	}{
		"opened":         {other: settle(access.Settlement{Enforced: 1, Opened: key}), last: "1", first: "1"},
		"closed":         {other: settle(access.Settlement{Enforced: 1, Closed: key}), last: "1", first: "1"},
		"wake-up":        {other: func(s *Store) error { return s.SetWakeUp(context.Background(), nsgID, sample(1).ID, 5) }, last: "1 wakes 5", first: "1"},
		"closing":        {other: putGrant(closing), last: "1 closing", first: "1 closing", earlierStays: true},
		"a shorter one":  {other: putGrant(between), last: "1", first: "1"},
		"the very same":  {other: putGrant(longer), last: "1", first: "1"},
		"another's head": {other: func(s *Store) error { _, err := s.Touch(context.Background(), nsgID); return err }, last: "1", first: "1"},
	} {
		for _, first := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " first=", first), func(t *testing.T) {
				a := newAccount(t)
				s, other := a.store(t), a.store(t)
				if err := putGrant(sampleGrant(1))(s); err != nil {
					t.Fatal(err)
				}
				ours, theirs, want := putGrant(longer), c.other, c.first
				if !first {
					ours, theirs, want = c.other, putGrant(longer), c.last
				}
				blows := storm(t, a, "grants", 1, func() error { return theirs(other) })
				if err := ours(s); err != nil {
					t.Fatal(err)
				}
				if blows.Load() != 1 {
					t.Errorf("%d clashes", blows.Load())
				}
				end := longer.ExpiresAt
				if first && c.earlierStays {
					end = sampleGrant(1).ExpiresAt
				}
				if b := wantBook(t, s, want); !b.Grants[0].ExpiresAt.Equal(end) || b.Generation < 2 || b.Generation == b.Enforced {
					t.Errorf("book %+v", b)
				}
			})
		}
	}
}

// Told is noted between the two halves of a change and the other way round. Neither
// loses what the other wrote, not even a request that is finished by then.
func TestToldAgainstUpdate(t *testing.T) {
	tell := func(s *Store) error {
		return s.MarkTold(context.Background(), sample(1).ID, map[string]int{"teams": 1, "mail": 2})
	}
	tellLess := func(s *Store) error {
		return s.MarkTold(context.Background(), sample(1).ID, map[string]int{"teams": 2, "mail": 1})
	}
	deny := func(s *Store) error { return undertakings[1].do(context.Background(), s) }
	for name, c := range map[string]struct {
		calls  [2]func(*Store) error
		teams  int
		events []string
	}{
		"told in between":    {[2]func(*Store) error{deny, tell}, 1, []string{"made", "denied"}},
		"changed in between": {[2]func(*Store) error{tell, deny}, 1, []string{"made", "denied"}},
		"told twice":         {[2]func(*Store) error{tell, tellLess}, 2, []string{"made"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			s, other := a.store(t), a.store(t)
			insertSample(t, s)
			blows := storm(t, a, "requests", 1, func() error { return c.calls[1](other) })
			if err := c.calls[0](s); err != nil || blows.Load() != 1 {
				t.Fatalf("error %v after %d clashes", err, blows.Load())
			}
			r, err := s.Request(t.Context(), sample(1).ID)
			if want := (map[string]int{"teams": c.teams, "mail": 2}); err != nil || !maps.Equal(r.Told, want) {
				t.Errorf("told %v, error %v; want %v", r.Told, err, want)
			}
			wantEvents(t, s, 1, c.events...)
		})
	}
}
