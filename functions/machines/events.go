package machines

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"jitgate/internal/api"
	"jitgate/internal/audit"
	"jitgate/internal/web"
)

type eventsOutput struct{ Body api.EventList }

func (f function) events(ctx context.Context, in *struct{ Machine }) (*eventsOutput, error) {
	vm, err := f.seen(ctx, in.Machine)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	p, err := f.protection(ctx, vm)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	records := make([][]audit.Event, 1+len(p.Parts))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	group.Go(func() (err error) {
		records[0], err = f.service.Store.ProtectionEvents(gctx, vm)
		return err
	})
	for i, part := range p.Parts {
		group.Go(func() (err error) {
			records[i+1], err = f.service.Store.Notes(gctx, part.NSG)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, f.fail(ctx, err)
	}
	return &eventsOutput{Body: api.EventList{Events: each(byTime(records), web.Event)}}, nil
}

// byTime makes one list of several records. Events of one moment stay in the order
// of the records, and the machine's own comes first: what it asked for explains
// what happened to the NSG.
func byTime(records [][]audit.Event) []audit.Event {
	all := slices.Concat(records...)
	slices.SortStableFunc(all, func(a, b audit.Event) int { return a.At.Compare(b.At) })
	return all
}
