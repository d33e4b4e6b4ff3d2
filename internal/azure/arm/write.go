package arm

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"jitgate/internal/access"
	"jitgate/internal/nsg"
)

// maxFailures ends a round of single changes: when this many fail that might have
// worked, Azure is unwell and the rest would fail as well.
const maxFailures = 3

// write carries out a plan: one change as a write of that rule, several as one
// write of the whole group, because each write takes Azure seconds and a second
// one in flight cancels the first.
//
// Writing the group is only the fast way. If Azure refuses it, be it for a single
// rule in it or because the identity may write rules but not groups, or if it keeps
// losing to other writers, the changes are made one by one, removals first. So one
// bad rule never keeps another one open.
//
// FlushConnection can only be set by a write of the group. Where rules have to be
// changed one by one it is left for the round after them, when it is all that is
// left, and only then it can be refused: on its own account, not for a rule's sake.
func (m *matching) write(ctx context.Context, g group, plan nsg.Plan, attempt int) error {
	rules := len(plan.Put) + len(plan.Delete)
	switch {
	case rules == 0:
		return m.writeFlush(ctx, g, plan)
	case rules == 1 && plan.Flush == nil, m.single, g.etag == "":
		// Without an ETag the whole group could undo a change made since we read it.
		return m.writeRules(ctx, plan)
	}
	body, err := g.rewrite(plan)
	if err != nil { // one of the rules cannot be written, and it will be named
		return m.writeRules(ctx, plan)
	}
	if err = m.writeGroup(ctx, g, plan, body); err == nil {
		return nil
	}
	f := failed(err, writing)
	if f.status == 0 {
		return f // nobody is there who would take the single changes
	}
	if f.reaction() == wait {
		m.single = 2*attempt >= m.attempts
		return f
	}
	m.log.WarnContext(ctx, "Azure does not take the NSG as a whole; changing its rules one by one", "nsg", m.id, "changes", rules, "cause", f)
	m.single = true
	return m.writeRules(ctx, plan)
}

// writeFlush sets FlushConnection and changes nothing else.
func (m *matching) writeFlush(ctx context.Context, g group, plan nsg.Plan) error {
	if g.etag == "" {
		m.refuse("", errors.New("no ETag came with the group, and without one a write of the whole could undo a change made meanwhile"))
		return nil
	}
	body, err := g.rewrite(plan)
	if err != nil {
		return err
	}
	if err := m.writeGroup(ctx, g, plan, body); err != nil {
		return m.settle("", failed(err, writing))
	}
	return nil
}

func (m *matching) writeGroup(ctx context.Context, g group, plan nsg.Plan, body []byte) error {
	m.outcome.Writes++
	sending := policy.WithHTTPHeader(withRawBody(ctx, body), http.Header{"If-Match": {g.etag}})
	poller, err := m.groups.BeginCreateOrUpdate(sending, m.id.ResourceGroup(), m.id.Name(), armnetwork.SecurityGroup{}, nil)
	if err = finish(ctx, m.Network, poller, err); err == nil && plan.Flush != nil {
		m.flushes++
	}
	return err
}

// writeRules makes the changes one by one. Those refused for good are noted and do
// not stop the others.
func (m *matching) writeRules(ctx context.Context, plan nsg.Plan) error {
	var last error
	failures := 0
	try := func(name string, write func() error) {
		if failures == maxFailures || ctx.Err() != nil {
			return
		}
		m.outcome.Writes++
		err := write()
		if err == nil {
			return
		}
		f := failed(err, writing)
		if m.settle(name, f) == nil {
			return
		}
		last = f
		if failures++; f.status == 0 {
			failures = maxFailures
		}
	}
	for _, name := range plan.Delete {
		try(name, func() error {
			poller, err := m.rules.BeginDelete(ctx, m.id.ResourceGroup(), m.id.Name(), name, nil)
			return finish(ctx, m.Network, poller, err)
		})
	}
	for _, r := range plan.Put {
		body, err := encodeRule(r)
		if err != nil {
			m.refuse(r.Name, err)
			continue
		}
		try(r.Name, func() error {
			poller, err := m.rules.BeginCreateOrUpdate(withRawBody(ctx, body), m.id.ResourceGroup(), m.id.Name(), r.Name, armnetwork.SecurityRule{}, nil)
			return finish(ctx, m.Network, poller, err)
		})
	}
	if last == nil {
		return ctx.Err()
	}
	return last
}

// settle notes a failed change if it is refused for good, else returns the failure.
func (m *matching) settle(name string, f *failure) error {
	reaction := f.reaction()
	if reaction == once {
		if m.doubts[name]++; m.doubts[name] > 1 {
			reaction = refuse
		}
	}
	if reaction != refuse {
		return f
	}
	m.refuse(name, f)
	return nil
}

// refuse notes that a change will not happen; the name "" is FlushConnection's.
func (m *matching) refuse(name string, why error) {
	what := "rule " + name
	if name == "" {
		what = "flushConnection"
	}
	m.outcome.Refused[name] = fmt.Errorf("write %s of %s: %w: %w", what, m.id, access.ErrForbidden, why)
}

// finish follows an operation to its end. The SDK's own pace would be 30 s.
func finish[T any](ctx context.Context, n *Network, poller *runtime.Poller[T], err error) error {
	if err != nil {
		return err
	}
	_, err = poller.PollUntilDone(ctx, &runtime.PollUntilDoneOptions{Frequency: n.pollEvery})
	return err
}
