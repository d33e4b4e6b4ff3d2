package access

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"jitgate/internal/audit"
)

// recordRequest writes the fates of a request's grants in one NSG into its record.
// drift holds what was found about rules that had stood already.
func (p *pass) recordRequest(ctx context.Context, id string, grants []int, fates []fate, drift map[string]string) error {
	at := p.now()
	checked := map[int]Reason{}
	leaving := false
	update := func(r *Request) ([]audit.Event, error) {
		rec := record{at: at, by: jitgate}
		leaving = false
		for i := range r.Targets {
			t := &r.Targets[i]
			before := t.State
			if err := p.recordTarget(t, i, grants, fates, &rec); err != nil {
				return nil, err
			}
			if before != Active && t.State == Active {
				warning, done := checked[i]
				if !done {
					return nil, &uncheckedError{i, r.Source, t}
				}
				if t.Warning = warning; warning.Code != "" {
					rec.add(audit.AccessOutranked, t, audit.Event{Text: warning.Sentence})
				}
			}
			leaving = leaving || before.Live() && !t.State.Live()
		}
		p.recordDrift(r, drift, &rec)
		return rec.events, nil
	}
	// A target that is about to be open has its way checked first, outside of the
	// update. By then every other NSG on the way has been recorded as open, so what is
	// read now is newer than its rule.
	r, err := p.update(ctx, id, update)
	for unchecked := (*uncheckedError)(nil); errors.As(err, &unchecked); {
		checked[unchecked.target] = p.checkWays(ctx, id, unchecked.source, unchecked.state)
		r, err = p.update(ctx, id, update)
	}
	if errors.Is(err, ErrNotFound) {
		return nil // a grant without a request was only ever to be closed
	}
	if err != nil || !leaving {
		return err
	}
	// A target that ends here may have rules left in its other NSG. Only the moment of
	// leaving triggers this, or two NSGs that both refuse the removal would nudge each
	// other for ever; what gets lost here is found by the sweep.
	return p.withdraw(ctx, &r)
}

// recordDrift tells each request once about each of its rules. What was found about one
// rule by name is on the record of the NSG.
func (p *pass) recordDrift(r *Request, drift map[string]string, rec *record) {
	told := map[string]bool{}
	for i := range r.Targets {
		t := &r.Targets[i]
		o := t.opening(p.book.NSG)
		if o == nil {
			continue
		}
		var rules, found []string
		for _, rule := range o.Rules {
			text := drift[rule.Name]
			if text == "" || told[rule.Name] {
				continue
			}
			told[rule.Name] = true
			rules = append(rules, rule.Name)
			if !slices.Contains(found, text) {
				found = append(found, text)
			}
		}
		if len(rules) > 0 {
			rec.add(audit.RuleRepaired, t, audit.Event{NSG: o.NSG.String(), Rule: strings.Join(rules, ", "), Text: strings.Join(found, " ")})
		}
	}
}

// uncheckedError stops an update that would record a target as open before its way
// was checked.
type uncheckedError struct {
	target int
	source netip.Prefix
	state  *Target
}

func (e *uncheckedError) Error() string { return "the way to the target is not checked yet" }

// recordTarget applies what ARM confirmed about one target in this NSG. Several
// grants (one per protocol) make up its opening: it is open when all are, and
// closed when none is left. What the record says of its rules is one event for all of
// them: with one for each, what happens to a large request at one moment would be more
// than a transaction holds, and could never be recorded.
func (p *pass) recordTarget(t *Target, index int, grants []int, fates []fate, rec *record) error {
	o := t.opening(p.book.NSG)
	if o == nil {
		return nil
	}
	mine, open, closed := 0, 0, 0
	none := true        // no rule of this opening is left
	var stuck []string  // rules that cannot be removed
	var until time.Time // the end that the rules bear
	var failed Reason
	for _, i := range grants {
		if p.book.Grants[i].Target != index {
			continue
		}
		f := fates[i]
		mine++
		none = none && !f.open && !f.left && f.refused == nil
		switch {
		case f.open:
			open++
			until = earlier(until, p.book.Grants[i].ExpiresAt)
		case f.failed.Code != "":
			failed = f.failed
		case f.closed:
			closed++
		case f.refused != nil:
			stuck = append(stuck, p.book.Grants[i].Rule)
		}
	}
	if mine == 0 {
		return nil
	}
	add := func(kind audit.Kind, rules, text string) {
		rec.add(kind, t, audit.Event{NSG: o.NSG.String(), Rule: rules, Text: text})
	}
	if len(stuck) > 0 && !o.Stuck { // once: a lock of days would make a long record of one fact
		add(audit.RuleRemovalFailed, strings.Join(stuck, ", "), "Azure refuses the removal; it will be tried again.")
	}
	o.Stuck = len(stuck) > 0
	rules := ruleNames(o.Rules, func(r PlannedRule) string { return r.Name })
	switch {
	case failed.Code != "":
		o.Closed = none
		if err := t.fail(failed, rec); err != nil {
			return err
		}
	case open == mine && !o.Open:
		o.Open, o.Until = true, until
		add(audit.RuleCreated, rules, "In the NSG until "+until.Format(time.RFC3339)+".")
	case open == mine && o.Until.Before(until):
		o.Until = until
		add(audit.RuleExtended, rules, "In the NSG until "+until.Format(time.RFC3339)+".")
	case closed == mine && !o.Closed:
		o.Closed = true
		add(audit.RuleRemoved, rules, "The NSG holds no rule of this request for the VM any more.")
	}
	return t.advance(o, rec)
}

// advance makes the moves that the confirmations about one opening allow.
func (t *Target) advance(o *Opening, rec *record) error {
	if t.State == Approved && t.allOpen() {
		t.OpenedAt = rec.at
		rec.add(audit.AccessOpened, t, audit.Event{Text: "Open until " + t.ExpiresAt.Format(time.RFC3339) + "."})
		return t.Apply(Confirm)
	}
	if t.State == Approved && o.Closed {
		return t.fail(Reason{NotOpenedInTime, "The access could not be opened before its time was over; ask again."}, rec)
	}
	if t.State == Active && o.Closed {
		if err := t.Apply(Expire); err != nil {
			return err
		}
	}
	if t.State != Closing || !t.allClosed() {
		return nil
	}
	t.EndedAt = rec.at
	kind, text := audit.AccessExpired, "Closed at the end of its time. Connections that were open go on until they end."
	if t.Ending == Revoked {
		kind, text = audit.AccessRevoked, "Closed before its time. Connections that were open go on until they end."
	}
	rec.add(kind, t, audit.Event{Text: text})
	return t.Apply(Complete)
}

// fail ends a target whose rule cannot be where it should be. One that never was
// open has failed; one that was is closed, as revoked, with the reason.
func (t *Target) fail(why Reason, rec *record) error {
	if !t.State.Live() {
		return nil
	}
	t.Reason = why
	rec.add(audit.AccessFailed, t, audit.Event{Text: why.Sentence})
	if t.State == Active {
		return t.Apply(Revoke)
	}
	t.EndedAt = rec.at
	return t.Apply(Fail)
}
