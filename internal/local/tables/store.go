package tables

import (
	"strings"
	"sync"
)

// store holds the tables. One lock guards everything: writers hold it for the in-memory change only, readers share it
// and take entities out by pointer.
type store struct {
	mu     sync.RWMutex
	tables ordered[*table] // by lower-case name: table names are unique without regard to case
	last   int64           // ticks of the latest Timestamp handed out
}

type table struct {
	name       string // as created
	partitions ordered[*partition]
}

type partition struct{ rows ordered[*entity] }

func (s *store) createTable(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.ToLower(name)
	if _, ok := s.tables.items[key]; ok {
		return errTableAlreadyExists
	}
	s.tables.put(key, &table{name: name, partitions: newOrdered[*partition]()})
	return nil
}

func (s *store) deleteTable(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.ToLower(name)
	if _, ok := s.tables.items[key]; !ok {
		return errResourceNotFound
	}
	s.tables.remove(key)
	return nil
}

// find returns a table; the caller holds the lock.
func (s *store) find(name string) (*table, error) {
	if t, ok := s.tables.items[strings.ToLower(name)]; ok {
		return t, nil
	}
	return nil, errTableNotFound
}

func (s *store) get(table, pk, rk string) (*entity, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.find(table)
	if err != nil {
		return nil, err
	}
	if e := t.get(pk, rk); e != nil {
		return e, nil
	}
	return nil, errResourceNotFound
}

func (t *table) get(pk, rk string) *entity {
	if p, ok := t.partitions.items[pk]; ok {
		return p.rows.items[rk]
	}
	return nil
}

// mutation is one change of one entity.
type mutation struct {
	kind    string  // insert, upsert, merge, replace or delete: an Op.Kind
	merge   bool    // keep the stored properties the change does not name; upsert comes with and without
	entity  *entity // the keys and, except for delete, the properties
	ifMatch string  // "*" or an ETag; empty for insert and upsert
}

// next returns what the row holds after the change, nil for a deleted row.
func (m mutation) next(current *entity) (*entity, error) {
	switch m.kind {
	case "insert":
		if current != nil {
			return nil, errEntityAlreadyExists
		}
	case "upsert":
	default:
		if current == nil {
			return nil, errResourceNotFound
		}
		if m.ifMatch != "*" && m.ifMatch != current.etag {
			return nil, errConditionNotMet
		}
	}
	if m.kind == "delete" {
		return nil, nil
	}
	if m.merge && current != nil {
		merged := current.merged(m.entity)
		return merged, merged.checkLimits()
	}
	return &entity{pk: m.entity.pk, rk: m.entity.rk, props: m.entity.props}, nil
}

// apply makes all changes or none. They are of one partition and touch each row once, so each is judged against the
// stored rows alone. On failure it returns the position of the first change that could not be made. now is ticks.
func (s *store) apply(table string, changes []mutation, now int64) (after []*entity, failed int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.find(table)
	if err != nil {
		return nil, 0, err
	}
	after = make([]*entity, len(changes))
	for i, m := range changes {
		if after[i], err = m.next(t.get(m.entity.pk, m.entity.rk)); err != nil {
			return nil, i, err
		}
	}
	for i, m := range changes {
		if after[i] == nil {
			t.remove(m.entity.pk, m.entity.rk)
			continue
		}
		// Two writes within one clock tick must not share an ETag, or a lost update would go unnoticed.
		s.last = max(now, s.last+1)
		after[i].stamp(s.last)
		t.put(after[i])
	}
	return after, 0, nil
}

func (t *table) put(e *entity) {
	p, ok := t.partitions.items[e.pk]
	if !ok {
		p = &partition{rows: newOrdered[*entity]()}
		t.partitions.put(e.pk, p)
	}
	p.rows.put(e.rk, e)
}

func (t *table) remove(pk, rk string) {
	p := t.partitions.items[pk]
	p.rows.remove(rk)
	if len(p.rows.keys) == 0 {
		t.partitions.remove(pk)
	}
}
