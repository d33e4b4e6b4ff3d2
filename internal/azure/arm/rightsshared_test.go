package arm_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"
	"github.com/jonboulle/clockwork"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/azure/arm"
	local "jitgate/internal/local/arm"
)

// gate is ARM for tests that must know when everybody waits: it answers when it is
// told to.
type gate struct {
	calls  atomic.Int32
	answer chan int // a status
}

func (g *gate) Do(r *http.Request) (*http.Response, error) {
	g.calls.Add(1)
	select {
	case status := <-g.answer:
		body := `{"value":[{"properties":{"scope":"/","roleDefinitionId":"/providers/Microsoft.Authorization/roleDefinitions/` + masters + `"}}]}`
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func behind(t *testing.T, g *gate) *arm.Rights {
	t.Helper()
	r, err := arm.NewRights(arm.Config{Credential: &fake.TokenCredential{}, Transport: g, Clock: clockwork.NewFakeClock()}, table())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOneCallForAllWhoAskTheSame(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		want   []string
		err    error
		after  int32 // calls, when somebody asks once more
	}{
		"answered": {200, []string{"Jit.Approve", "Jit.Request"}, nil, 1},
		"refused":  {403, nil, access.ErrForbidden, 2}, // not remembered
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &gate{answer: make(chan int)}
				r := behind(t, g)
				ask := func() {
					got, err := r.Roles(t.Context(), access.Person{Object: dana}, armid.MustParse(ofBoth))
					if !errors.Is(err, test.err) || !slices.Equal(got, test.want) {
						t.Errorf("%v, %v", got, err)
					}
					if got != nil {
						got[0] = "" // the race detector sees it if two got the same
					}
				}
				var all sync.WaitGroup
				for range 20 {
					all.Go(ask)
				}
				synctest.Wait()
				if n := g.calls.Load(); n != 1 {
					t.Errorf("%d calls at once", n)
				}
				g.answer <- test.status
				all.Wait()
				all.Go(ask)
				synctest.Wait()
				if n := g.calls.Load(); n != test.after {
					t.Errorf("%d calls in all, want %d", n, test.after)
				}
				if test.after > 1 {
					g.answer <- test.status
				}
				all.Wait()
			})
		})
	}
}

// TestWhoLeavesDoesNotTakeTheAnswerAlong: the first to ask hangs up, the second is
// answered.
func TestWhoLeavesDoesNotTakeTheAnswerAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{answer: make(chan int)}
		r := behind(t, g)
		ask := func(ctx context.Context) ([]string, error) {
			return r.Roles(ctx, access.Person{Object: dana}, armid.MustParse(ofBoth))
		}
		first, hangUp := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if got, err := ask(first); got != nil || !errors.Is(err, access.ErrUnavailable) || !errors.Is(err, context.Canceled) {
				t.Errorf("the first: %v, %v", got, err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if got, err := ask(t.Context()); len(got) != 2 || err != nil {
				t.Errorf("the second: %v, %v", got, err)
			}
		})
		synctest.Wait()
		hangUp()
		synctest.Wait()
		g.answer <- 200
		all.Wait()
		if n := g.calls.Load(); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestAQuestionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		got, err := behind(t, &gate{}).Roles(t.Context(), access.Person{Object: dana}, armid.MustParse(ofBoth))
		if got != nil || !errors.Is(err, access.ErrUnavailable) {
			t.Errorf("%v, %v", got, err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("took %s", took)
		}
	})
}

// TestManyAskAtOnce is for the race detector, through the whole pipeline.
func TestManyAskAtOnce(t *testing.T) {
	f := openOffice(t, local.Options{})
	f.assign(t, ofGroup, dana, askers)
	f.assign(t, ofBoth, eve, approvers)
	machines := []string{"both", "same", "bare"}
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			who, machine := []string{dana, eve}[i%2], machines[i%3]
			want := map[string][]string{dana + machine: {"Jit.Request"}, eve + "both": {"Jit.Approve"}}[who+machine]
			got, err := f.Roles(f.ctx, access.Person{Object: who}, armid.MustParse(scope+"Microsoft.Compute/virtualMachines/"+machine))
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s on %s: %v, %v, want %v", who, machine, got, err, want)
			}
		})
	}
	all.Wait()
	if f.calls() != 6 {
		t.Errorf("%d calls for 6 questions", f.calls())
	}
}
