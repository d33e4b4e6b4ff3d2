package access

import (
	"slices"
	"strings"
	"time"

	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

// The ledger is one row, and a row has an end. Neither whoever can make alerts nor whoever
// has stolen the accounts of approvers must be able to fill it up: then nobody could lock
// anything down, those accounts included. So an entry is short whatever people write, and
// the row holds the most of every kind at once. Lockdowns of people are a kind of their
// own: administrators alone set them, and find room whatever approvers and alerts do.
const (
	// MaxLockdowns is how many lockdowns of people hold at a time, and how many that
	// people set on anything else.
	MaxLockdowns = 100
	// MaxAlertLockdowns is how many lockdowns of alerts hold at a time.
	MaxAlertLockdowns = 100
	// MaxPreApproved is how many machines are pre-approved at a time, counted once for
	// each pre-approval.
	MaxPreApproved = 100
	// maxReason is how many characters of its reason a lockdown keeps. The record has
	// all of it.
	maxReason = 200
	// mostEnded is how much of it ends in one change: each leaves an event, and a change
	// saves at most 99 of them.
	mostEnded = 90
)

// Ledger is what concerns the whole installation and not one request: the lockdowns
// in force, the pre-approvals that alerts have given, and a record of its own, in
// which suspicious use stands too. It is one row: a look at it must be cheap, since
// every decision takes one, and it holds only what is in force.
type Ledger struct {
	Lockdowns    []Lockdown
	PreApprovals []PreApproval
	Told         map[string]int // per channel, up to which event of the record its notices went out
	Events       int            // how many events its record holds
}

// Lockdown keeps everything under it closed until it is lifted. Exactly one of User
// and Scope is set.
type Lockdown struct {
	ID     string // UUID
	User   string // object id of a person or application, lower case
	Scope  policy.Scope
	Until  time.Time // zero = until somebody lifts it
	Alert  string    // alert.Alert.Key of the news that lifts it; empty for one that only people lift
	By     Person
	Reason string // the beginning of it
	At     time.Time
}

// InForce reports whether the lockdown holds at now.
func (l Lockdown) InForce(now time.Time) bool { return l.Until.IsZero() || now.Before(l.Until) }

// outlasts reports whether l makes o superfluous. Both are of alerts and about the same. If
// the same news lift them, the later word holds; if none do, both end by themselves, and o
// not after l: an alert that comes every minute is one lockdown.
func (l Lockdown) outlasts(o Lockdown) bool {
	switch {
	case !l.By.Same(jitgate) || !o.By.Same(jitgate) || !l.Scope.Equal(o.Scope) || l.Alert != o.Alert:
		return false
	case l.Alert != "":
		return l.At.After(o.At)
	}
	return !l.Until.IsZero() && !o.Until.IsZero() && !o.Until.After(l.Until)
}

// short is the lockdown as the row keeps it.
func (l Lockdown) short() Lockdown {
	l.Reason, l.By.Name = clipTo(l.Reason, maxReason), clip(l.By.Name)
	return l
}

// like counts the lockdowns of the same kind: of people, of alerts, and the rest.
func (l *Ledger) like(o Lockdown) int {
	n := 0
	for _, d := range l.Lockdowns {
		if d.By.Same(jitgate) == o.By.Same(jitgate) && (d.User == "") == (o.User == "") {
			n++
		}
	}
	return n
}

// covers reports whether access of a person to a machine is under the lockdown.
func (l Lockdown) covers(who Person, vm armid.ID) bool {
	return l.User != "" && strings.EqualFold(l.User, who.Object) || l.Scope.Contains(vm)
}

// PreApproval lets members of a group have access to some machines without an
// approver, because an alert rule says so. It never overrules a guardrail.
type PreApproval struct {
	Alert    string // alert.Alert.Key that gave it
	Rule     string // name of the alert rule
	Group    string // object id, lower case
	Machines []armid.ID
	Ports    []policy.Port
	Until    time.Time
}

// outlasts is what it is for lockdowns.
func (p *PreApproval) outlasts(o *PreApproval) bool {
	return p.Rule == o.Rule && p.Group == o.Group && !o.Until.After(p.Until) && slices.Equal(p.Ports, o.Ports) &&
		!slices.ContainsFunc(o.Machines, func(vm armid.ID) bool { return !slices.ContainsFunc(p.Machines, vm.Equal) })
}

// lockdown finds one in force that covers access of a person to a machine.
func (l *Ledger) lockdown(who Person, vm armid.ID, now time.Time) *Lockdown {
	for i := range l.Lockdowns {
		if d := &l.Lockdowns[i]; d.InForce(now) && d.covers(who, vm) {
			return d
		}
	}
	return nil
}

// locked finds a lockdown in force of a person.
func (l *Ledger) locked(who Person, now time.Time) *Lockdown {
	return l.lockdown(who, armid.ID{}, now)
}

// preApproval finds one in force that lets the actor have these ports of a machine.
func (l *Ledger) preApproval(groups []string, vm armid.ID, ports []policy.Port, now time.Time) *PreApproval {
	for i := range l.PreApprovals {
		p := &l.PreApprovals[i]
		if now.Before(p.Until) &&
			slices.ContainsFunc(groups, func(g string) bool { return strings.EqualFold(g, p.Group) }) &&
			slices.ContainsFunc(p.Machines, vm.Equal) &&
			!slices.ContainsFunc(ports, func(q policy.Port) bool { return !slices.Contains(p.Ports, q) }) {
			return p
		}
	}
	return nil
}
