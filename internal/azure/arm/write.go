package arm

import (
	"context"
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
func (m *matching) write(ctx context.Context, g group, plan nsg.Plan, attempt int) error {
	if plan.Changes() == 1 || m.single || g.etag == "" {
		// Without an ETag the whole group could undo a change made since we read it.
		return m.writeRules(ctx, plan)
	}
	err := m.writeGroup(ctx, g, plan)
	if err == nil {
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
	m.log.WarnContext(ctx, "Azure does not take the NSG as a whole; changing its rules one by one", "nsg", m.id, "changes", plan.Changes(), "cause", f)
	m.single = true
	return m.writeRules(ctx, plan)
}

func (m *matching) writeGroup(ctx context.Context, g group, plan nsg.Plan) error {
	body, err := g.rewrite(plan)
	if err != nil {
		return fmt.Errorf("rewrite %s: %w", m.id, err)
	}
	m.outcome.Writes++
	// Both values are for this one request; polling goes on without them.
	sending := policy.WithHTTPHeader(withRawBody(ctx, body), http.Header{"If-Match": {g.etag}})
	poller, err := m.groups.BeginCreateOrUpdate(sending, m.id.ResourceGroup(), m.id.Name(), armnetwork.SecurityGroup{}, nil)
	return finish(ctx, m.Network, poller, err)
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
		reaction := f.reaction()
		if reaction == once {
			if m.doubts[name]++; m.doubts[name] > 1 {
				reaction = refuse
			}
		}
		if reaction == refuse {
			m.outcome.Refused[name] = fmt.Errorf("write rule %s of %s: %w: %w", name, m.id, access.ErrForbidden, f)
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
		try(r.Name, func() error {
			poller, err := m.rules.BeginCreateOrUpdate(ctx, m.id.ResourceGroup(), m.id.Name(), r.Name, *writeRule(r), nil)
			return finish(ctx, m.Network, poller, err)
		})
	}
	if last == nil {
		return ctx.Err()
	}
	return last
}

// finish follows an operation to its end. The SDK's own pace would be 30 s.
func finish[T any](ctx context.Context, n *Network, poller *runtime.Poller[T], err error) error {
	if err != nil {
		return err
	}
	_, err = poller.PollUntilDone(ctx, &runtime.PollUntilDoneOptions{Frequency: n.pollEvery})
	return err
}
