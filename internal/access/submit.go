package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

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
func (s *Service) Submit(ctx context.Context, by Person, key string, ask Ask) (Request, error) {
	id, err := requestID(by, key)
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
	if err := s.precheck(ctx, ask); err != nil {
		return Request{}, err
	}

	r := Request{
		ID: id, Requester: by, Source: ask.Source, Duration: ask.Duration,
		Justification: ask.Justification, CreatedAt: s.now(), Fingerprint: ask.Fingerprint,
	}
	for _, t := range ask.Targets {
		r.Targets = append(r.Targets, Target{VM: t.VM, Ports: t.Ports, State: Pending})
	}
	rec := record{at: r.CreatedAt, by: by}
	rec.add(audit.RequestCreated, nil, audit.Event{Text: fmt.Sprintf("Asked for %d VM(s) from %s for %s.",
		len(r.Targets), r.Source, policy.FormatDuration(r.Duration))})
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
	if err := s.Queue.Evaluate(ctx, id); err != nil {
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
		if err := s.Queue.Evaluate(ctx, first.ID); err != nil {
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

// precheck refuses what policy would deny, for every target at once.
func (s *Service) precheck(ctx context.Context, ask Ask) error {
	vms := make([]armid.ID, len(ask.Targets))
	for i, t := range ask.Targets {
		vms[i] = t.VM
	}
	rules, err := s.rulebook(ctx, vms)
	if err != nil {
		return err
	}
	var faults Refusals
	for i, t := range ask.Targets {
		_, refusals := rules.judge(policy.Ask{VM: t.VM, Ports: t.Ports, Source: ask.Source, Duration: ask.Duration})
		for _, r := range refusals {
			faults = append(faults, Refusal{Code: Code(r.Code), Field: fmt.Sprintf("targets[%d]", i), Sentence: r.Sentence})
		}
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}
