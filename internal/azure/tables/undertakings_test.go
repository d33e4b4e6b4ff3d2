package tables

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/audit"
)

var requestUndertakings = []undertaking{
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
		name:    "MarkTold",
		prepare: insertSample,
		do: func(ctx context.Context, s *Store) error {
			return s.MarkTold(ctx, sample(1).ID, map[string]int{"teams": 1})
		},
		done: func(t *testing.T, s *Store) {
			r, err := s.Request(t.Context(), sample(1).ID)
			if err != nil || len(r.Told) != 1 || r.Told["teams"] != 1 {
				t.Errorf("told %v, error %v", r.Told, err)
			}
			wantEvents(t, s, 1, "made")
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
}

var nsgUndertakings = []undertaking{
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
		name: "PutGrants with a later end",
		prepare: func(t *testing.T, s *Store) {
			putSamples(t, s)
			if err := errors.Join(s.SetWakeUp(t.Context(), nsgID, sample(1).ID, 5),
				s.Settle(t.Context(), nsgID, access.Settlement{Enforced: 1, Opened: []string{sampleGrant(1).Key(), sampleGrant(2).Key()}})); err != nil {
				t.Fatal(err)
			}
		},
		do: func(ctx context.Context, s *Store) error {
			longer := sampleGrant(1)
			longer.ExpiresAt = noon.Add(2 * time.Hour)
			_, now, err := s.PutGrants(ctx, nsgID, []access.Grant{longer})
			if err == nil && !now[0].ExpiresAt.Equal(longer.ExpiresAt) {
				err = fmt.Errorf("grant %+v", now[0])
			}
			return err
		},
		done: func(t *testing.T, s *Store) {
			b := wantBook(t, s, "1", "2 wakes 5 opened")
			if b.Generation == b.Enforced || !b.Grants[0].ExpiresAt.Equal(noon.Add(2*time.Hour)) {
				t.Errorf("book %+v", b)
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
		name: "PutGuard",
		do: func(ctx context.Context, s *Store) error {
			_, err := s.PutGuard(ctx, nsgID, sampleGuard(1))
			return err
		},
		done: func(t *testing.T, s *Store) {
			if b := wantBook(t, s, "guard 1"); b.Generation == b.Enforced {
				t.Error("nothing tells that the NSG has to be looked at")
			}
		},
	},
	{
		name:    "PutGuard of the next revision",
		prepare: putSampleGuard,
		do: func(ctx context.Context, s *Store) error {
			_, err := s.PutGuard(ctx, nsgID, sampleGuard(2))
			return err
		},
		done: func(t *testing.T, s *Store) {
			if b := wantBook(t, s, "guard 2"); b.Generation < 2 {
				t.Errorf("generation %d", b.Generation)
			}
		},
	},
	{
		name:    "Settle of a guard",
		prepare: func(t *testing.T, s *Store) { putSamples(t, s); putSampleGuard(t, s) },
		do: func(ctx context.Context, s *Store) error {
			return s.Settle(ctx, nsgID, access.Settlement{Enforced: 2, Closed: []string{sampleGrant(1).Key(), sampleGrant(2).Key()},
				Guarded: map[string]int{sampleGuard(1).Key(): 1}})
		},
		done: func(t *testing.T, s *Store) {
			if b := wantBook(t, s, "guard 1 done"); b.Enforced != 2 {
				t.Errorf("head %+v", b.Head)
			}
		},
	},
	{
		name:    "Settle of a guard that lets go",
		prepare: func(t *testing.T, s *Store) { putSamples(t, s); putSampleGuard(t, s) },
		do: func(ctx context.Context, s *Store) error {
			confirmed := map[string]int{sampleGuard(1).Key(): 1}
			return s.Settle(ctx, nsgID, access.Settlement{Enforced: 2, Guarded: confirmed, LetGo: confirmed})
		},
		done: func(t *testing.T, s *Store) {
			if b := wantBook(t, s, "1", "2", "guard 1 done let go"); b.Enforced != 2 {
				t.Errorf("head %+v", b.Head)
			}
		},
	},
	{
		name: "Settle of a hindered guard",
		prepare: func(t *testing.T, s *Store) {
			putSampleGuard(t, s)
			if err := s.Settle(t.Context(), nsgID, access.Settlement{Enforced: 1, Guarded: map[string]int{sampleGuard(1).Key(): 1}}); err != nil {
				t.Fatal(err)
			}
		},
		do: func(ctx context.Context, s *Store) error {
			return s.Settle(ctx, nsgID, access.Settlement{Hindered: map[string]int{sampleGuard(1).Key(): 1}})
		},
		done: func(t *testing.T, s *Store) { wantBook(t, s, "guard 1") },
	},
	{
		name:    "Settle of a released guard",
		prepare: putSampleGuard,
		do: func(ctx context.Context, s *Store) error {
			return s.Settle(ctx, nsgID, access.Settlement{Enforced: 1, Released: map[string]int{sampleGuard(1).Key(): 1}})
		},
		done: func(t *testing.T, s *Store) {
			if b := wantBook(t, s); b.Enforced != 1 {
				t.Errorf("head %+v", b.Head)
			}
		},
	},
	{
		name: "UpdateProtection that creates",
		do:   func(ctx context.Context, s *Store) error { return protectSample(ctx, s, 1) },
		done: func(t *testing.T, s *Store) { wantProtection(t, s, 1, "revision 1") },
	},
	{
		name: "UpdateProtection",
		prepare: func(t *testing.T, s *Store) {
			if err := protectSample(t.Context(), s, 1); err != nil {
				t.Fatal(err)
			}
		},
		do:   func(ctx context.Context, s *Store) error { return protectSample(ctx, s, 2) },
		done: func(t *testing.T, s *Store) { wantProtection(t, s, 2, "revision 1", "revision 2") },
	},
	{
		// Who notes again looks first: a note by itself has nothing to be known by.
		name: "Note",
		do: func(ctx context.Context, s *Store) error {
			events, err := s.Notes(ctx, nsgID)
			if err != nil || len(events) > 0 {
				return err
			}
			return s.Note(ctx, nsgID, []audit.Event{{Text: "one"}, {Text: "two"}})
		},
		done: func(t *testing.T, s *Store) {
			events, err := s.Notes(t.Context(), nsgID)
			wantRecord(t, events, err, "one", "two")
		},
	},
	{
		name: "Reads",
		prepare: func(t *testing.T, s *Store) {
			insertSample(t, s)
			putSamples(t, s)
			putSampleGuard(t, s)
			if err := errors.Join(protectSample(t.Context(), s, 1), s.Note(t.Context(), nsgID, made)); err != nil {
				t.Fatal(err)
			}
		},
		do: func(ctx context.Context, s *Store) error {
			_, err := s.Request(ctx, sample(1).ID)
			_, err2 := s.Events(ctx, sample(1).ID)
			page, err3 := s.List(ctx, access.Query{})
			_, err4 := s.Book(ctx, nsgID)
			books := 0
			err5 := s.Books(ctx, func(access.Book) error { books++; return nil })
			_, err6 := s.Protection(ctx, vmID)
			machines := 0
			err7 := s.Protections(ctx, func(access.Protection) error { machines++; return nil })
			record, err8 := s.ProtectionEvents(ctx, vmID)
			notes, err9 := s.Notes(ctx, nsgID)
			err = errors.Join(err, err2, err3, err4, err5, err6, err7, err8, err9)
			if err == nil && (len(page.Requests) != 1 || books != 1 || machines != 1 || len(record) != 1 || len(notes) != 1) {
				err = errors.New("something is missing")
			}
			return err
		},
		done: func(*testing.T, *Store) {},
	},
}
