package alert

import (
	"slices"
	"strings"
	"time"

	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

func (r *reader) do(at value[doWritten], w doWritten, path string, one *rule) {
	revoke, _ := read(r, w.Revoke, path+".revoke")
	one.do.Revoke = revoke
	if lock, ok := read(r, w.Lockdown, path+".lockdown"); ok {
		one.do.Lockdown = r.lock(w.Lockdown, lock, path+".lockdown", one.when)
	}
	if pre, ok := read(r, w.PreApprove, path+".preapprove"); ok {
		one.do.PreApproval, one.scope = r.preApproval(w.PreApprove, pre, path+".preapprove")
		if revoke || w.Lockdown.given {
			fault(r, w.PreApprove, path+".preapprove", "What closes access and what eases it do not go together; keep one of them.")
		}
	}
	if !revoke && w.Revoke.wanted == "" && !w.Lockdown.given && !w.PreApprove.given {
		fault(r, at, path, "do says nothing; write revoke: true, lockdown or preapprove.")
	}
}

func (r *reader) lock(at value[lockWritten], w lockWritten, path string, when when) *Lock {
	lock := &Lock{}
	lock.UntilResolved, _ = read(r, w.UntilResolved, path+".untilResolved")
	if w.For.given {
		lock.For = duration(r, w.For, path+".for", MaxLockdown)
	}
	switch {
	case w.UntilResolved.wanted != "" || w.For.wanted != "":
	case w.For.given == lock.UntilResolved:
		fault(r, at, path, "A lockdown says when it ends: either for, or untilResolved: true.")
	case lock.UntilResolved && when.condition == Resolved:
		fault(r, w.UntilResolved, path+".untilResolved", "The alert is resolved already when this rule matches; write for.")
	case lock.UntilResolved && slices.ContainsFunc(when.services, neverResolves):
		fault(r, w.UntilResolved, path+".untilResolved", "Alerts of the activity log, resource health and service health are never resolved; write for.")
	}
	return lock
}

func (r *reader) preApproval(at value[preApproveWritten], w preApproveWritten, path string) (*PreApproval, armid.ID) {
	pre := &PreApproval{}
	if group, ok := required(r, at, w.Group, path+".group"); ok {
		if !isUUID(group) {
			fault(r, w.Group, path+".group", "group %.60q is no object id of a group.", group)
		}
		pre.Group = strings.ToLower(group)
	}
	var scope armid.ID
	if text, ok := required(r, at, w.Within, path+".within"); ok {
		var err error
		scope, err = armid.Parse(text)
		if err != nil || scope.Type() != "" && !strings.EqualFold(scope.Type(), armid.VirtualMachine) {
			fault(r, w.Within, path+".within", "within %.60q is no id of a subscription, a resource group or a VM.", text)
		}
	}
	if !w.For.given {
		missing(r, at, path+".for", "")
	} else {
		pre.For = duration(r, w.For, path+".for", policy.MaxDuration)
	}
	if !w.Ports.given {
		missing(r, at, path+".ports", "")
	}
	list(r, w.Ports, path+".ports", func(p portWritten, item value[portWritten], path string) {
		number, ok := required(r, item, p.Port, path+".port")
		protocol, also := required(r, item, p.Protocol, path+".protocol")
		if !ok || !also {
			return
		}
		port, err := policy.NewPort(number, protocol)
		switch {
		case err != nil:
			fault(r, item, path, `%d/%.60s is no port; a port lies between 1 and 65535, a protocol is TCP, UDP or "*" in quotes.`, number, protocol)
		case slices.Contains(pre.Ports, port):
			fault(r, item, path, "Port %s is listed twice; keep one of them.", port)
		}
		pre.Ports = append(pre.Ports, port)
	})
	return pre, scope
}

func duration(r *reader, f value[string], path string, longest time.Duration) time.Duration {
	text, ok := read(r, f, path)
	if !ok {
		return 0
	}
	d, err := policy.ParseDuration(text)
	switch {
	case err != nil:
		fault(r, f, path, "for %.60q is no duration in ISO 8601 form without years and months, such as PT30M or PT4H.", text)
	case d < policy.MinDuration || d > longest:
		fault(r, f, path, "for is %s; it must lie between %s and %s.", d, policy.MinDuration, longest)
	}
	return d
}
