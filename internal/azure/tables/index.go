package tables

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
)

// The index answers List. All its rows are in one partition, so that those of a
// request are inserted together. A row is nothing but its key,
//
//	<kind>|<19 digits>|<request id>
//
// where the digits count down with the time of creation: key order is newest
// first. Rows are hints. A row may point to nothing (the insert died half-way) or
// to a request with another time (two inserts of one id raced; each left its
// rows), and both kinds are skipped. Neither is deleted, because the insert that
// will make it true may be under way at this moment.
const (
	indexPartition = "requests"
	allPrefix      = "all|"
	openPrefix     = "open|" // goes when the request has finished
)

func vmPrefix(vm armid.ID) string { return "vm:" + vm.Key() + "|" }

// personForm is what tenant and object ids may consist of in a key. Entra's are
// UUIDs; the rest is for tests and demos.
var personForm = regexp.MustCompile(`^[0-9A-Za-z@._-]{1,128}$`)

func requesterPrefix(p access.Person) (string, error) {
	if !personForm.MatchString(p.Tenant) || !personForm.MatchString(p.Object) {
		return "", fmt.Errorf("tenant %.128q and object %.128q of the requester are not ids", p.Tenant, p.Object)
	}
	return "requester:" + p.Tenant + ":" + p.Object + "|", nil
}

// indexSuffix is what follows the kind in every row of a request.
func indexSuffix(r *access.Request) string { return countdown(r.CreatedAt) + "|" + r.ID }

var suffixForm = regexp.MustCompile(`^[0-9]{19}\|[0-9A-Za-z-]{1,64}$`)

func countdown(t time.Time) string { return fmt.Sprintf("%019d", math.MaxInt64-t.UnixNano()) }

// indexRows lists the keys of all rows of a request.
func indexRows(r *access.Request) ([]string, error) {
	suffix := indexSuffix(r)
	representable := time.Unix(0, r.CreatedAt.UnixNano()).Equal(r.CreatedAt) // 1678 to 2262
	if !suffixForm.MatchString(suffix) || !representable {
		return nil, fmt.Errorf("its id %.64q or its time of creation %s cannot be a key", r.ID, r.CreatedAt)
	}
	requester, err := requesterPrefix(r.Requester)
	if err != nil {
		return nil, err
	}
	keys := []string{allPrefix + suffix, openPrefix + suffix, requester + suffix}
	for _, t := range r.Targets {
		keys = append(keys, vmPrefix(t.VM)+suffix)
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil // a row may be named once in a transaction
}

// dropIndex deletes a row of the index. Failing is harmless, a reader will meet
// the row again.
func (s *Store) dropIndex(ctx context.Context, key string) {
	err := s.lookups.write(ctx, removeAny(indexPartition, key))
	if err != nil && !errors.Is(err, access.ErrNotFound) {
		s.log.WarnContext(ctx, "a row of the index that is not needed any more could not be deleted; it will be skipped", "row", key, "error", err)
	}
}

// idOf takes the request id off a suffix.
func idOf(suffix string) string {
	_, id, _ := strings.Cut(suffix, "|")
	return id
}
