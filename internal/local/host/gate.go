package host

import (
	"context"
	"sync"
)

// gate holds back whoever starts new work while the host is paused.
type gate struct {
	mu     sync.Mutex
	period context.Context // ends when the gate closes; nil while it is closed
	close  context.CancelFunc
	opened chan struct{} // closed when the gate opens; nil while it is open
}

func newGate() *gate {
	g := &gate{opened: make(chan struct{})}
	g.open()
	return g
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.period == nil {
		g.period, g.close = context.WithCancel(context.Background())
		close(g.opened)
		g.opened = nil
	}
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.period != nil {
		g.close()
		g.period, g.opened = nil, make(chan struct{})
	}
}

func (g *gate) isOpen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.period != nil
}

// enter waits until the gate is open. The context it returns ends when the gate closes or ctx does; leave must be called.
// The error is ctx's.
func (g *gate) enter(ctx context.Context) (inside context.Context, leave func(), err error) {
	for {
		g.mu.Lock()
		period, opened := g.period, g.opened
		g.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if period != nil {
			inside, cancel := context.WithCancel(ctx)
			stop := context.AfterFunc(period, cancel)
			return inside, func() { stop(); cancel() }, nil
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}
