package storetest

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"jitgate/internal/access"
)

// model is what a book should be after the calls so far, in a few lines.
type model struct {
	head   access.Head
	grants map[string]access.Grant
	guards map[string]access.Guard

	extended map[string]int64 // by key of a grant, the generation that gave it a later end
}

// runModel compares random calls on a few NSGs with the model. One store serves
// all runs, each on NSGs of its own, because opening one can be slow.
func runModel(t *testing.T, open func(t *testing.T) Store) {
	s := open(t)
	ctx := t.Context()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		nsg := group(1000 + run)
		m := model{grants: map[string]access.Grant{}, guards: map[string]access.Guard{}, extended: map[string]int64{}}
		check := func(err error) {
			if err != nil {
				rt.Fatal(err)
			}
		}
		someGrant := rapid.Custom(func(rt *rapid.T) access.Grant {
			g := grant(rapid.IntRange(1, 3).Draw(rt, "request"), rapid.IntRange(0, 2).Draw(rt, "target"))
			g.Closing = rapid.Bool().Draw(rt, "closing")
			g.ExpiresAt = g.ExpiresAt.Add(time.Duration(rapid.IntRange(0, 2).Draw(rt, "longer")) * time.Hour)
			return g
		})
		some := rapid.SliceOfNDistinct(someGrant, 0, 4, access.Grant.Key)
		revisions := rapid.MapOfN(rapid.Custom(func(rt *rapid.T) string {
			return vm(rapid.IntRange(1, 3).Draw(rt, "machine")).Key()
		}), rapid.IntRange(1, 3), 0, 3)
		bump := func(generation int64) {
			m.head.NSG = nsg
			if m.head.Generation++; generation != m.head.Generation {
				rt.Fatalf("generation %d, want %d", generation, m.head.Generation)
			}
		}
		actions := map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				grants := some.Draw(rt, "grants")
				generation, now, err := s.PutGrants(ctx, nsg, grants)
				check(err)
				bump(generation)
				for i, g := range grants {
					old, exists := m.grants[g.Key()]
					if exists {
						if g.ExpiresAt.After(old.ExpiresAt) && !g.Closing && !old.Closing {
							old.ExpiresAt, old.Opened, old.WakeUp = g.ExpiresAt, false, 0
							m.extended[g.Key()] = generation
						}
						old.Closing = old.Closing || g.Closing
						g = old
					}
					m.grants[g.Key()] = g
					if now[i].Key() != g.Key() || !now[i].ExpiresAt.Equal(g.ExpiresAt) || now[i].WakeUp != g.WakeUp || now[i].Opened != g.Opened || now[i].Closing != g.Closing {
						rt.Fatalf("grant came back as %+v, want %+v", now[i], g)
					}
				}
			},
			"guard": func(rt *rapid.T) {
				g := access.Guard{VM: vm(rapid.IntRange(1, 3).Draw(rt, "machine")), Revision: rapid.IntRange(1, 3).Draw(rt, "revision"),
					Wanted: rapid.Bool().Draw(rt, "wanted"), Former: covers(80)}
				generation, err := s.PutGuard(ctx, nsg, g)
				check(err)
				bump(generation)
				if old, exists := m.guards[g.Key()]; !exists || g.Revision > old.Revision {
					m.guards[g.Key()] = g
				}
			},
			"touch": func(rt *rapid.T) {
				generation, err := s.Touch(ctx, nsg)
				check(err)
				bump(generation)
			},
			"wake-up": func(rt *rapid.T) {
				request, sequence := id(rapid.IntRange(1, 3).Draw(rt, "request")), rapid.Int64Range(0, 3).Draw(rt, "sequence")
				check(s.SetWakeUp(ctx, nsg, request, sequence))
				for k, g := range m.grants {
					if g.Request == request {
						g.WakeUp = sequence
						m.grants[k] = g
					}
				}
			},
			"settle": func(rt *rapid.T) {
				if m.head.Generation == 0 {
					return // nobody settles what was never put
				}
				settled := access.Settlement{
					Enforced: rapid.Int64Range(0, m.head.Generation).Draw(rt, "enforced"),
					NextDue:  noon.Add(time.Duration(rapid.IntRange(0, 5).Draw(rt, "due")) * time.Minute),
				}
				for i, g := range some.Draw(rt, "settled") {
					old, counts := m.grants[g.Key()]
					counts = counts && m.extended[g.Key()] <= settled.Enforced
					if i%2 == 0 {
						settled.Opened = append(settled.Opened, g.Key())
						if counts {
							old.Opened = true
							m.grants[g.Key()] = old
						}
						continue
					}
					settled.Closed = append(settled.Closed, g.Key())
					if counts {
						delete(m.grants, g.Key())
						delete(m.extended, g.Key())
					}
				}
				settled.Guarded, settled.Hindered = revisions.Draw(rt, "guarded"), revisions.Draw(rt, "hindered")
				settled.LetGo, settled.Released = revisions.Draw(rt, "let go"), revisions.Draw(rt, "released")
				for k, g := range m.guards {
					if settled.Released[k] == g.Revision {
						delete(m.guards, k)
						continue
					}
					if settled.Guarded[k] == g.Revision {
						g.Done = true
					}
					if settled.Hindered[k] == g.Revision { // the safer of the two
						g.Done = false
					}
					if settled.LetGo[k] == g.Revision {
						g.Former = nil
					}
					m.guards[k] = g
				}
				check(s.Settle(ctx, nsg, settled))
				if settled.Enforced > 0 && settled.Enforced >= m.head.Enforced {
					m.head.Enforced, m.head.NextDue = settled.Enforced, settled.NextDue
				}
			},
		}
		names := slices.Sorted(maps.Keys(actions))
		// Short runs, because a store can be on the other side of a network.
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			actions[rapid.SampledFrom(names).Draw(rt, "action")](rt)
			if m.head.Generation == 0 {
				continue
			}
			got, err := s.Book(ctx, nsg)
			check(err)
			got.ChangedAt = time.Time{}
			got.Grants, got.Guards = sorted(got.Grants), sortedGuards(got.Guards)
			want := access.Book{Head: m.head, Grants: sorted(slices.Collect(maps.Values(m.grants))), Guards: sortedGuards(slices.Collect(maps.Values(m.guards)))}
			if d := diff(want, got); d != "" {
				rt.Fatalf("book (-want +got):\n%s", d)
			}
		}
	})
}
