package arm

import (
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// recent remembers lists of roles for a while. It holds a limited number of them
// and lets the oldest go first, so that nobody can fill the memory by asking.
type recent struct {
	clock clockwork.Clock
	keep  time.Duration
	most  int

	mu    sync.Mutex
	by    map[string]*list.Element
	order *list.List // of remembered, the oldest in front
}

type remembered struct {
	key   string
	roles []string
	at    time.Time
}

func newRecent(clock clockwork.Clock, keep time.Duration, most int) *recent {
	return &recent{clock: clock, keep: keep, most: most, by: map[string]*list.Element{}, order: list.New()}
}

func (c *recent) get(key string) ([]string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.by[key]
	if e == nil || c.old(e) {
		return nil, false
	}
	return slices.Clone(e.Value.(remembered).roles), true
}

// put remembers what was the case at a time.
func (c *recent) put(key string, roles []string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.by[key]; e != nil {
		c.drop(e)
	}
	for e := c.order.Front(); e != nil && (len(c.by) >= c.most || c.old(e)); e = c.order.Front() {
		c.drop(e)
	}
	c.by[key] = c.order.PushBack(remembered{key, slices.Clone(roles), at})
}

func (c *recent) old(e *list.Element) bool { return c.clock.Since(e.Value.(remembered).at) >= c.keep }

func (c *recent) drop(e *list.Element) {
	delete(c.by, c.order.Remove(e).(remembered).key)
}
