package alert

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

func (r *reader) do(at field, fromOwn bool, one *rule) {
	fields := r.Mapping(at, "revoke", "lockdown", "preapprove")
	lock, pre := fields["lockdown"], fields["preapprove"]
	switch {
	case fromOwn && (fields["revoke"].Given() || lock.Given()):
		r.Fault(at, "With when.source the alert says what is done, as far as allow goes; do holds no more than preapprove.")
	case fromOwn && pre.Given() && !slices.Contains(one.allow, PreApprove):
		r.Fault(at, "do.preapprove is given, but allow does not list preapprove.")
	}
	revoke, ok := r.Flag(fields["revoke"])
	one.do.Revoke = revoke
	if lock.Given() {
		one.do.Lockdown = r.lock(lock, one.when)
	}
	if pre.Given() {
		one.do.PreApproval, one.scope = r.preApproval(pre)
		if revoke || lock.Given() {
			r.Fault(pre, "What closes access and what eases it do not go together; keep one of them.")
		}
	}
	if fields != nil && ok && !revoke && !lock.Given() && !pre.Given() {
		r.Fault(at, "do says nothing; write revoke: true, lockdown or preapprove.")
	}
}

func (r *reader) lock(at field, when when) *Lock {
	fields := r.Mapping(at, "for", "untilResolved")
	length, end := fields["for"], fields["untilResolved"]
	untilResolved, ok := r.Flag(end)
	lock := &Lock{For: r.duration(length, MaxLockdown), UntilResolved: untilResolved}
	switch {
	case fields == nil || !ok:
	case length.Given() == untilResolved:
		r.Fault(at, "A lockdown says when it ends: either for, or untilResolved: true.")
	case untilResolved && when.condition == Resolved:
		r.Fault(end, "The alert is resolved already when this rule matches; write for.")
	case untilResolved && slices.ContainsFunc(when.services, neverResolves):
		r.Fault(end, "Alerts of the activity log, resource health and service health are never resolved; write for.")
	}
	return lock
}

// maxPorts of a pre-approval: as many as one request may ask for of a machine, and no more
// than there is room for among all that is in force.
const maxPorts = 20

func (r *reader) preApproval(at field) (pre *PreApproval, scope armid.ID) {
	fields := r.Mapping(at, "group", "within", "for", "ports")
	group, within := r.Required(at, fields, "group"), r.Required(at, fields, "within")
	text, ok := r.Text(group)
	if ok && !isUUID(text) {
		r.Fault(group, "group %.60q is no object id of a group.", text)
	}
	pre = &PreApproval{Group: strings.ToLower(text)}
	if text, ok := r.Text(within); ok {
		var err error
		scope, err = armid.Parse(text)
		if err != nil || scope.Type() != "" && !strings.EqualFold(scope.Type(), armid.VirtualMachine) {
			r.Fault(within, "within %.60q is no id of a subscription, a resource group or a VM.", text)
		}
	}
	pre.For = r.duration(r.Required(at, fields, "for"), policy.MaxDuration)
	ports := r.Required(at, fields, "ports")
	items := r.Sequence(ports, "leave it out, or list something")
	if len(items) > maxPorts {
		r.Fault(ports, "%d ports are listed; at most %d are pre-approved.", len(items), maxPorts)
	}
	for _, item := range items {
		fields := r.Mapping(item, "port", "protocol")
		number, ok := r.Number(r.Required(item, fields, "port"))
		protocol, also := r.Text(r.Required(item, fields, "protocol"))
		if !ok || !also {
			continue
		}
		port, err := policy.NewPort(number, protocol)
		switch {
		case err != nil:
			r.Fault(item, `%d/%.60s is no port; a port lies between 1 and 65535, a protocol is TCP, UDP or "*" in quotes.`, number, protocol)
		case slices.Contains(pre.Ports, port):
			r.Fault(item, "Port %s is listed twice; keep one of them.", port)
		}
		pre.Ports = append(pre.Ports, port)
	}
	return pre, scope
}

func (r *reader) duration(f field, longest time.Duration) time.Duration {
	text, ok := r.Text(f)
	if !ok {
		return 0
	}
	d, err := policy.ParseDuration(text)
	switch {
	case err != nil:
		r.Fault(f, "for %.60q is no duration in ISO 8601 form without years and months, such as PT30M or PT4H.", text)
	case d < policy.MinDuration || d > longest:
		r.Fault(f, "for is %s; it must lie between %s and %s.", d, policy.MinDuration, longest)
	}
	return d
}

// isUUID takes the plain form only; uuid.Validate takes braces and urn: too.
func isUUID(text string) bool { return len(text) == 36 && uuid.Validate(text) == nil }
