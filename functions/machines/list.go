package machines

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/armid"
	"jitgate/internal/identity"
	"jitgate/internal/web"
)

// readers is how many subscriptions, or records, are read side by side.
const readers = 8

type listInput struct {
	Name  string `query:"name" doc:"Only machines of exactly this name, in any case. To be sent by callers without a role, who get those that Azure RBAC lets them ask for or approve."`
	State string `query:"state" doc:"Only machines whose protection is in this state."`
}
type listOutput struct{ Body api.MachineList }

func (f function) list(ctx context.Context, in *listInput) (*listOutput, error) {
	wanted, err := readState(in.State)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	if in.Name == "" { // whose machines these are would have to be asked of Azure for each there is
		if err := web.RequireRole(ctx, identity.MachineRead); err != nil {
			return nil, f.fail(ctx, err)
		}
	}
	ids, states, err := f.find(ctx, in.Name)
	if err == nil && !web.Caller(ctx).May(identity.MachineRead) {
		ids, err = f.concerning(ctx, ids)
	}
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	out := &listOutput{Body: api.MachineList{Machines: []api.Machine{}}}
	for _, id := range ids {
		state := cmp.Or(states[id.Key()], access.Unprotected)
		if wanted == "" || state == wanted {
			out.Body.Machines = append(out.Body.Machines, api.Machine{ID: id.String(), Name: id.Name(), State: string(state)})
		}
	}
	slices.SortFunc(out.Body.Machines, func(a, b api.Machine) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID)))
	})
	return out, nil
}

// concerning keeps the machines that the caller may ask for or approve.
func (f function) concerning(ctx context.Context, ids []armid.ID) ([]armid.ID, error) {
	var out []armid.ID
	for _, id := range ids {
		err := f.service.Concerned(ctx, web.Person(ctx), id)
		switch {
		case err == nil:
			out = append(out, id)
		case !errors.As(err, new(access.Refusals)):
			return nil, err
		}
	}
	return out, nil
}

// find reads the machines of every subscription and all protections side by side.
// The protections are one scan: asking for each machine's would take a round trip
// per machine.
func (f function) find(ctx context.Context, name string) (ids []armid.ID, states map[string]access.ProtectionState, err error) {
	found := make([][]armid.ID, len(f.service.Subscriptions))
	states = map[string]access.ProtectionState{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	group.Go(func() error {
		return f.service.Store.Protections(ctx, func(p access.Protection) error {
			states[p.VM.Key()] = p.State()
			return nil
		})
	})
	for i, subscription := range f.service.Subscriptions {
		group.Go(func() error {
			return f.service.Network.Machines(ctx, subscription, func(id armid.ID) error {
				if name == "" || strings.EqualFold(name, id.Name()) {
					found[i] = append(found[i], id)
				}
				return nil
			})
		})
	}
	err = group.Wait()
	return slices.Concat(found...), states, err
}

var protectionStates = []access.ProtectionState{access.Protecting, access.Protected, access.Unprotecting, access.Unprotected, access.Blocked}

func readState(text string) (access.ProtectionState, error) {
	names := make([]string, len(protectionStates))
	for i, s := range protectionStates {
		if strings.EqualFold(text, string(s)) {
			return s, nil
		}
		names[i] = string(s)
	}
	if text == "" {
		return "", nil
	}
	return "", access.Refusals{{Code: access.StateUnknown, Field: "state",
		Sentence: fmt.Sprintf("%.60q is not a state of a protection; send one of %s.", text, strings.Join(names, ", "))}}
}
