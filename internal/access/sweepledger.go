package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"jitgate/internal/audit"
)

// sweepLedger ends lockdowns whose time is over, forgets pre-approvals that are, and
// ends what is open under a lockdown all the same: the process that was to end it
// may have died.
func (s *Service) sweepLedger(ctx context.Context, found *Swept) error {
	now := s.now()
	ledger, err := s.Ledgers.Ledger(ctx)
	if err != nil {
		return fmt.Errorf("read the lockdowns in force: %w", err)
	}
	var faults []error
	for ledger.over(now) {
		left, err := s.updateLedger(ctx, func(d *Ledger) ([]audit.Event, error) {
			rec := record{at: now, by: jitgate}
			d.end(now, &rec)
			return rec.events, nil
		})
		if err != nil { // what is in force is enforced all the same
			faults = append(faults, err)
			ledger.Lockdowns = slices.DeleteFunc(ledger.Lockdowns, func(l Lockdown) bool { return !l.InForce(now) })
			break
		}
		ledger = left
	}
	n, err := s.closeUnder(ctx, ledger.Lockdowns...)
	found.Requests += n
	faults = append(faults, err)
	if s.behind(ledger.Told, ledger.Events) {
		faults = append(faults, s.Queue.Tell(ctx, "", ledger.Events))
	}
	return errors.Join(faults...)
}

// over reports whether something in the ledger has had its time.
func (l *Ledger) over(now time.Time) bool {
	return slices.ContainsFunc(l.Lockdowns, func(d Lockdown) bool { return !d.InForce(now) }) ||
		slices.ContainsFunc(l.PreApprovals, func(p PreApproval) bool { return !now.Before(p.Until) })
}

// end takes out what has had its time, as much of it as one change may.
func (l *Ledger) end(now time.Time, rec *record) {
	l.Lockdowns = slices.DeleteFunc(l.Lockdowns, func(d Lockdown) bool {
		if d.InForce(now) || len(rec.events) >= mostEnded {
			return false
		}
		rec.add(audit.LockdownEnded, nil, audit.Event{VM: d.Scope.ID().String(), Text: "Its time is over: " + d.text()})
		return true
	})
	l.PreApprovals = slices.DeleteFunc(l.PreApprovals, func(p PreApproval) bool {
		if now.Before(p.Until) || len(rec.events) >= mostEnded {
			return false
		}
		rec.add(audit.PreApprovalEnded, nil, audit.Event{Text: fmt.Sprintf("The pre-approval of group %s by alert rule %s is over.", p.Group, p.Rule)})
		return true
	})
}
