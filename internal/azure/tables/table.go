package tables

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"jitgate/internal/access"
)

// table is one table: point reads, range reads, and transactions as the only
// writes.
type table struct {
	client *aztables.Client
	name   string
}

// row is one row as it was read. Its ETag is what a change of it must name.
type row struct {
	pk, rk  string
	etag    azcore.ETag
	columns columns
}

// get reads one row; ErrNotFound when there is none.
func (t table) get(ctx context.Context, pk, rk string) (row, error) {
	resp, err := t.client.GetEntity(ctx, pk, rk, nil)
	if err != nil {
		return row{}, explain(t.name, "read", err)
	}
	r, err := readRow(resp.Value)
	if err != nil {
		return row{}, fmt.Errorf("table %s: %w", t.name, err)
	}
	r.etag = resp.ETag
	return r, nil
}

// rows reads all rows that match filter (empty = the whole table), in key order,
// top at a time. Pages may be
// short or empty and still be followed by others (Query timeout and pagination),
// so only the end of the pager is the end.
func (t table) rows(ctx context.Context, filter string, top int) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		size := int32(top)
		options := aztables.ListEntitiesOptions{Top: &size}
		if filter != "" {
			options.Filter = &filter
		}
		pager := t.client.NewListEntitiesPager(&options)
		for pager.More() {
			page, err := pager.NextPage(ctx)
			if err != nil {
				yield(row{}, explain(t.name, "query", err))
				return
			}
			for _, entity := range page.Entities {
				r, err := readRow(entity)
				if err != nil {
					err = fmt.Errorf("table %s: %w", t.name, err)
				}
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

// pageSize is the most that one page of a query holds.
const pageSize = 1000

func readRow(data []byte) (row, error) {
	var e aztables.EDMEntity
	if err := json.Unmarshal(data, &e); err != nil {
		return row{}, fmt.Errorf("a row cannot be read: %w", err)
	}
	return row{pk: e.PartitionKey, rk: e.RowKey, etag: azcore.ETag(e.ETag), columns: e.Properties}, nil
}

// change is one operation of a transaction. The constructors below are the only
// ones, because what the SDK makes of a missing ETag is treacherous (aztables
// v1.4.1 transactional_batch.go): a delete without one deletes whatever is there,
// and UpdateMerge and UpdateReplace without one do not update at all but upsert,
// so they overwrite what somebody else wrote and bring back what he deleted.
type change struct {
	kind    aztables.TransactionType
	pk, rk  string
	etag    *azcore.ETag
	columns columns
}

// insert fails with ErrExists when the row is there.
func insert(pk, rk string, c columns) change {
	return change{kind: aztables.TransactionTypeAdd, pk: pk, rk: rk, columns: c}
}

// replace writes all columns of a row that was read; those left out are gone.
func replace(r row, c columns) change {
	return change{kind: aztables.TransactionTypeUpdateReplace, pk: r.pk, rk: r.rk, etag: &r.etag, columns: c}
}

// insertOrReplace is insert when stored, the row as it was read, is none, and replace
// when it is one.
func insertOrReplace(pk, rk string, stored row, c columns) change {
	if stored.etag == "" {
		return insert(pk, rk, c)
	}
	return replace(stored, c)
}

// merge writes some columns of a row that was read and keeps the others.
func merge(r row, c columns) change {
	return change{kind: aztables.TransactionTypeUpdateMerge, pk: r.pk, rk: r.rk, etag: &r.etag, columns: c}
}

// remove deletes a row that was read.
func remove(r row) change {
	return change{kind: aztables.TransactionTypeDelete, pk: r.pk, rk: r.rk, etag: &r.etag}
}

// removeAny deletes a row unread. It is right only for rows that never change.
func removeAny(pk, rk string) change {
	whatever := azcore.ETagAny
	return change{kind: aztables.TransactionTypeDelete, pk: pk, rk: rk, etag: &whatever}
}

// note makes sure that a row without columns exists: with nothing in it there is nothing
// to lose.
func note(pk, rk string) change { return upsert(pk, rk, nil) }

// upsert writes a row unread. It is right only for rows that another one of the same
// transaction guards with its ETag.
func upsert(pk, rk string, c columns) change {
	return change{kind: aztables.TransactionTypeInsertReplace, pk: pk, rk: rk, columns: c}
}

// maxChanges is how many rows one entity-group transaction may change (Performing
// entity group transactions).
const maxChanges = 100

// write makes all changes or none; they are of one partition. Errors are those of
// explain, whichever of the changes failed.
func (t table) write(ctx context.Context, changes ...change) error {
	if len(changes) > maxChanges {
		return fmt.Errorf("table %s: %d changes do not fit into one transaction of %d", t.name, len(changes), maxChanges)
	}
	actions := make([]aztables.TransactionAction, len(changes))
	for i, c := range changes {
		if c.etag != nil && *c.etag == "" {
			return fmt.Errorf("table %s: row %s was read without its ETag", t.name, c.rk)
		}
		entity, err := json.Marshal(aztables.EDMEntity{
			Entity:     aztables.Entity{PartitionKey: c.pk, RowKey: c.rk},
			Properties: c.columns,
		})
		if err != nil {
			return fmt.Errorf("table %s: row %s: %w", t.name, c.rk, err)
		}
		actions[i] = aztables.TransactionAction{ActionType: c.kind, Entity: entity, IfMatch: c.etag}
	}
	if _, err := t.client.SubmitTransaction(ctx, actions, nil); err != nil {
		return explain(t.name, "write", err)
	}
	return nil
}

// swap is write for changes that follow from rows just read: whether one of them
// was changed, deleted or inserted meanwhile, the answer is errClash and the
// remedy is to read again.
func (t table) swap(ctx context.Context, changes ...change) error {
	err := t.write(ctx, changes...)
	if errors.Is(err, access.ErrExists) || errors.Is(err, access.ErrNotFound) {
		return fmt.Errorf("%w: %w", errClash, err)
	}
	return err
}

// These build filters. Values never come unchecked from outside, and are quoted all
// the same.
func is(column, value string) string    { return column + " eq " + quote(value) }
func from(column, value string) string  { return column + " ge " + quote(value) }
func after(column, value string) string { return column + " gt " + quote(value) }
func upTo(column, value string) string  { return column + " le " + quote(value) }
func below(column, value string) string { return column + " lt " + quote(value) }
func both(filters ...string) string     { return strings.Join(filters, " and ") }

func quote(value string) string { return "'" + strings.ReplaceAll(value, "'", "''") + "'" }

// starting selects the rows of a partition whose keys begin with prefix.
func starting(pk, prefix string) string {
	return both(is("PartitionKey", pk), from("RowKey", prefix), below("RowKey", past(prefix)))
}

// spanning selects the rows of a partition from one key to another, both included.
func spanning(pk, first, last string) string {
	return both(is("PartitionKey", pk), from("RowKey", first), upTo("RowKey", last))
}

// past is the smallest key behind all that begin with prefix; its last character
// is ASCII.
func past(prefix string) string {
	last := len(prefix) - 1
	return prefix[:last] + string(prefix[last]+1)
}
