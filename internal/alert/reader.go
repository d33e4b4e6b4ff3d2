package alert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"jitgate/internal/policy"
)

// reader walks a document and collects what is wrong with it.
type reader struct{ faults policy.Faults }

// maxFaults are told of a document; nobody reads more.
const maxFaults = 100

func (r *reader) add(fault policy.Fault) {
	if len(r.faults) < maxFaults {
		r.faults = append(r.faults, fault)
	}
}

// read gives the value, if it is one.
func read[T any](r *reader, f value[T], path string) (T, bool) {
	for _, fault := range f.inside {
		fault.Path = strings.TrimPrefix(path+fault.Path, ".")
		r.add(fault)
	}
	if f.wanted != "" {
		name := path
		if name == "" {
			name = "The document"
		}
		fault(r, f, path, "%s must be %s.", name, f.wanted)
	}
	return f.v, f.given && f.wanted == ""
}

func fault[T any](r *reader, f value[T], path, format string, args ...any) {
	r.add(policy.Fault{Line: f.line, Column: f.column, Path: path, Sentence: fmt.Sprintf(format, args...)})
}

// required reads what must be there.
func required[P, T any](r *reader, parent value[P], f value[T], path string) (T, bool) {
	if !f.given {
		missing(r, parent, path, "")
	}
	return read(r, f, path)
}

// missing finds fault where the parent starts, unless the key is there with
// nothing behind it: that was told already.
func missing[P any](r *reader, parent value[P], path, advice string) {
	if !slices.ContainsFunc(r.faults, func(f policy.Fault) bool { return f.Path == path }) {
		fault(r, parent, path, "%s is missing%s.", path[strings.LastIndex(path, ".")+1:], advice)
	}
}

// list reads a list that is not empty and hands each item over with its path.
func list[T any](r *reader, f value[[]value[T]], path string, take func(T, value[T], string)) {
	items, ok := read(r, f, path)
	if ok && len(items) == 0 {
		fault(r, f, path, "%s is empty; leave it out, or list something.", path)
	}
	for i, item := range items {
		itemPath := fmt.Sprintf("%s[%d]", path, i)
		if v, ok := read(r, item, itemPath); ok {
			take(v, item, itemPath)
		}
	}
}

// isUUID takes the plain form only; uuid.Validate takes braces and urn: too.
func isUUID(text string) bool { return len(text) == 36 && uuid.Validate(text) == nil }
