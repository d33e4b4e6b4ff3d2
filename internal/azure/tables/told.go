package tables

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
)

// toldColumn of a subject's row says how far each channel was told of its record. It
// is not part of the body, so that noting it does not write the subject again.
const toldColumn = "Told"

func (c columns) setTold(told map[string]int) error {
	if len(told) == 0 {
		return nil
	}
	data, err := json.Marshal(told)
	c[toldColumn] = string(data)
	return err
}

// told is empty for rows from before anybody was told.
func (c columns) told() (told map[string]int, err error) {
	if text, _ := c[toldColumn].(string); text != "" {
		if err = json.Unmarshal([]byte(text), &told); err != nil {
			err = fmt.Errorf("column %s: %w", toldColumn, err)
		}
	}
	return told, err
}

// markTold raises what a subject's row says to what is given. Everybody who changes
// the row writes what he has read of the column, under the row's ETag: neither this
// nor a change made meanwhile is lost. Made again it finds nothing to raise.
func (t table) markTold(ctx context.Context, at place, told map[string]int) error {
	return contend(ctx, at.name, func() error {
		stored, err := t.get(ctx, at.partition, at.row)
		if err != nil {
			return err
		}
		before, err := stored.columns.told()
		if err != nil {
			return unreadable(at.name, err)
		}
		now := maps.Clone(before)
		if now == nil {
			now = map[string]int{}
		}
		for channel, sequence := range told {
			now[channel] = max(now[channel], sequence)
		}
		if maps.Equal(now, before) {
			return nil
		}
		c := columns{}
		if err := c.setTold(now); err != nil {
			return err
		}
		return t.swap(ctx, merge(stored, c))
	})
}
