package broker

import (
	"container/heap"
	"time"
)

// alarm is one thing that will happen at a time. Each message, session and
// waiting receiver owns at most one, because at any moment only one thing can
// happen to it by the passing of time.
type alarm struct {
	at    time.Time
	order uint64 // first set, first fired, among equal times
	index int    // position in the heap plus one; zero when not set
	fire  func()
}

// alarms is a heap, earliest first.
type alarms []*alarm

func (h alarms) Len() int { return len(h) }
func (h alarms) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].order < h[j].order
	}
	return h[i].at.Before(h[j].at)
}
func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}
func (h *alarms) Push(x any) {
	a := x.(*alarm)
	*h = append(*h, a)
	a.index = len(*h)
}
func (h *alarms) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	a.index = 0
	return a
}

func (h *alarms) set(a *alarm, at time.Time, order uint64) {
	a.at, a.order = at, order
	if a.index > 0 {
		heap.Fix(h, a.index-1)
		return
	}
	heap.Push(h, a)
}

func (h *alarms) clear(a *alarm) {
	if a.index > 0 {
		heap.Remove(h, a.index-1)
	}
}
