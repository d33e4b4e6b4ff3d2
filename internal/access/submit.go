package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/policy"
)

// MaxIdempotencyKey bounds an Idempotency-Key, in characters.
const MaxIdempotencyKey = 200

// Submit saves a request and asks for its evaluation. What policy would deny is
// refused at once and leaves no trace in store or queue; the evaluation decides
// again by itself. With a key, a repeat by the same person returns the request of
// the first call.
//
// Errors: [Refusals]; [ErrUnavailable], after which nothing was accepted and the
// same call may be repeated.
func (s *Service) Submit(ctx context.Context, by Actor, key string, ask Ask) (Request, error) {
	id, err := requestID(by.Person, key)
	if err != nil {
		return Request{}, err
	}
	if key != "" {
		first, err := s.Store.Request(ctx, id)
		if err == nil {
			return s.repeat(ctx, first, ask)
		}
		if !errors.Is(err, ErrNotFound) {
			return Request{}, fmt.Errorf("look for an earlier call: %w", err)
		}
	}
	at, err := s.precheck(ctx, by, &ask)
	if err != nil {
		s.watchDenial(ctx, by.Person, err)
		return Request{}, err
	}

	r := Request{
		ID: id, Requester: by.Person, Standing: by.Standing, Source: ask.Source, Duration: ask.Duration,
		Justification: ask.Justification, BreakGlass: ask.BreakGlass, CreatedAt: at, Fingerprint: ask.Fingerprint,
	}
	for _, t := range ask.Targets {
		r.Targets = append(r.Targets, Target{VM: t.VM, Ports: t.Ports, State: Pending})
	}
	for _, channel := range s.Messages.Channels("") {
		if r.Told == nil {
			r.Told = map[string]int{}
		}
		r.Told[channel] = 0 // so that it is not finished before all are told
	}
	rec := record{at: r.CreatedAt, by: by.Person}
	text := fmt.Sprintf("Asked for %d VM(s) from %s for %s.", len(r.Targets), r.Source, policy.FormatDuration(r.Duration))
	if r.BreakGlass {
		text += " By breaking the glass."
	}
	rec.add(audit.RequestCreated, nil, audit.Event{Text: text})
	r.Events = len(rec.events)

	err = s.Store.InsertRequest(ctx, r, rec.events)
	if errors.Is(err, ErrExists) { // the same key, a moment earlier
		first, err := s.Store.Request(ctx, id)
		if err != nil {
			return Request{}, fmt.Errorf("read the earlier call: %w", err)
		}
		return s.repeat(ctx, first, ask)
	}
	if err != nil {
		return Request{}, fmt.Errorf("save the request: %w", err)
	}
	if err := s.Queue.Evaluate(ctx, id, r.Events); err != nil {
		// The caller is about to read that nothing was accepted, so nothing may open
		// later. If the withdrawal fails too, the sweep will find the request and carry
		// it out: the lesser evil, and a repeat with the same key finds it.
		if werr := s.Store.WithdrawRequest(context.WithoutCancel(ctx), id); werr != nil {
			s.Log.ErrorContext(ctx, "a request that could not be queued could not be withdrawn either", "request", id, "error", werr)
		}
		return Request{}, fmt.Errorf("queue the request: %w", err)
	}
	return r, nil
}

// repeat answers a call that bears the key of an earlier one.
func (s *Service) repeat(ctx context.Context, first Request, ask Ask) (Request, error) {
	if first.Fingerprint != ask.Fingerprint {
		return Request{}, refuse(IdempotencyReused, "Idempotency-Key",
			"This Idempotency-Key was used with another body; send a new key for a new request.")
	}
	if first.State() == Pending {
		if err := s.Queue.Evaluate(ctx, first.ID, first.Events); err != nil {
			return Request{}, fmt.Errorf("queue the request: %w", err)
		}
	}
	return first, nil
}

// requestID is time-ordered without a key. With one it is derived from the caller
// and the key, so that the store's refusal to insert an id twice is the proof
// that a repeat is a repeat; no second table has to agree.
func requestID(by Person, key string) (string, error) {
	if key == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return "", fmt.Errorf("make a request id: %w", err)
		}
		return id.String(), nil
	}
	if len(key) > MaxIdempotencyKey {
		return "", refuse(IdempotencyInvalid, "Idempotency-Key", fmt.Sprintf("The Idempotency-Key is longer than %d characters; send a shorter one.", MaxIdempotencyKey))
	}
	sum := sha256.Sum256([]byte(by.Tenant + "\x00" + by.Object + "\x00" + key))
	id := uuid.UUID(sum[:16])
	id[6] = id[6]&0x0f | 0x80 // version 8: custom
	id[8] = id[8]&0x3f | 0x80
	return id.String(), nil
}

// precheck refuses what would be denied, for every target at once, and fills in the
// duration where the ask leaves it to policy. It returns the moment as of which policy
// was asked, which is when the request was made: judged as of a later one, a window that
// leaves just as much as was asked for would not do any more.
func (s *Service) precheck(ctx context.Context, by Actor, ask *Ask) (time.Time, error) {
	rules, opinions, err := s.consider(ctx, by, ask, time.Time{})
	if err != nil {
		return time.Time{}, err
	}
	var faults Refusals
	for i, o := range opinions {
		for _, r := range o.refusals {
			r.Field = fmt.Sprintf("targets[%d]", i)
			faults = append(faults, r)
		}
	}
	if len(faults) > 0 {
		return time.Time{}, faults
	}
	return rules.at, nil
}

// lookAfter refuses machines that neither the sweep nor an alert would ever close, before
// Azure is asked about any of them.
func (s *Service) lookAfter(targets []AskTarget) error {
	var faults Refusals
	for i, t := range targets {
		faults = append(faults, s.inCare(fmt.Sprintf("targets[%d].vm", i), t.VM)...)
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}

// inCare refuses what is in a subscription that is not looked after: jitgate's identity
// may be able to read it, and whoever asks may not.
func (s *Service) inCare(field string, id armid.ID) Refusals {
	if s.looksAfter(id) {
		return nil
	}
	return Refusals{{Code: ScopeNotLookedAt, Field: field, Sentence: fmt.Sprintf("jitgate does not look after subscription %s; its operator can add it to JITGATE_SUBSCRIPTIONS.", id.Subscription())}}
}

// usual is how long access lasts that was asked for without a duration: the shortest
// of what the policies of its machines say, since all of it ends together.
func (b rulebook) usual(vms []armid.ID, tags []map[string]string, l Limits) time.Duration {
	d := l.Longest
	for i, vm := range vms {
		if p, refusals := b.policies.Nearest(vm, tags[i]); len(refusals) == 0 {
			d = min(d, p.Default())
		}
	}
	return max(d, l.Shortest)
}
