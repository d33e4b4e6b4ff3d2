package arm

import (
	"fmt"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
)

func TestRecentForgetsTheOldest(t *testing.T) {
	clock := clockwork.NewFakeClock()
	c := newRecent(clock, time.Minute, 3)
	holds := func(what string, want string) {
		t.Helper()
		got := ""
		for _, key := range []string{"a", "b", "c", "d", "e"} {
			if _, ok := c.get(key); ok {
				got += key
			}
		}
		if got != want || len(c.by) != c.order.Len() || len(c.by) > 3 {
			t.Errorf("%s: %q, want %q; %d and %d", what, got, want, len(c.by), c.order.Len())
		}
	}
	put := func(key string) { c.put(key, nil, clock.Now()); clock.Advance(time.Second) }
	put("a")
	put("b")
	put("c")
	holds("full", "abc")
	put("a")
	holds("put again", "abc")
	put("d")
	holds("over the edge", "acd")
	clock.Advance(time.Minute - 3*time.Second)
	holds("one has gone by", "ad")
	clock.Advance(time.Second)
	c.put("e", nil, clock.Now())
	holds("the old made room", "de")
	if len(c.by) != 2 {
		t.Errorf("%d are kept", len(c.by))
	}
	for i := range 2 * mostRights {
		c.put(fmt.Sprint(i), nil, clock.Now())
	}
	holds("flooded", "")
}
