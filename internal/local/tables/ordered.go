package tables

import (
	"slices"
	"sort"
)

// ordered is a map whose keys can be walked in the service's order. Point access costs a map lookup, a walk starts
// with a binary search, and a new key moves the keys behind it, which stays cheap at the sizes held in memory here.
type ordered[T any] struct {
	keys  []string
	items map[string]T
}

func newOrdered[T any]() ordered[T] { return ordered[T]{items: map[string]T{}} }

// seek returns the position of the first key that is not before key.
func (o *ordered[T]) seek(key string) int {
	return sort.Search(len(o.keys), func(i int) bool { return compareOrdinal(o.keys[i], key) >= 0 })
}

func (o *ordered[T]) put(key string, item T) {
	if _, ok := o.items[key]; !ok {
		o.keys = slices.Insert(o.keys, o.seek(key), key)
	}
	o.items[key] = item
}

func (o *ordered[T]) remove(key string) {
	if _, ok := o.items[key]; ok {
		i := o.seek(key)
		o.keys = slices.Delete(o.keys, i, i+1)
		delete(o.items, key)
	}
}
