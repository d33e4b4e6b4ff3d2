// Package strictyaml reads the documents that people write: one document of YAML
// or JSON, whose every fault is told at once, with line, column and path. The
// packages that own a language read it through a [Reader]; what its words mean is
// theirs to say.
//
// It refuses what makes YAML mean something other than what is read: unknown and
// repeated keys, anchors, aliases, tags, directives, further documents, numbers
// in other than plain digits. Nothing is taken for something else, and null is no
// value.
package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// MaxSize of a document in bytes.
const MaxSize = 64 << 10

// MaxFaults are told of a document.
const MaxFaults = 100

// Fault is one thing wrong with a document. What it quotes from the document is
// cut to 60 characters, so that an answer stays smaller than the question.
type Fault struct {
	Line     int    `json:"line"`   // from 1
	Column   int    `json:"column"` // from 1, in characters
	Path     string `json:"path"`   // such as "sources[0].range"; empty for the document itself
	Sentence string `json:"sentence"`
}

// Faults are the faults of a document in the order they stand in it, at most
// [MaxFaults] of them.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fmt.Sprintf("line %d, column %d: %s", fault.Line, fault.Column, fault.Sentence)
	}
	return strings.Join(lines, "\n")
}

// Read loads data and has it read by a function that tells r what is wrong. The
// error is of type [Faults]; with one, the result is the zero T.
func Read[T any](data []byte, r *Reader, by func(root Field) T) (T, error) {
	var result, none T
	root, faults := load(data)
	if len(faults) == 0 {
		result = by(root)
		faults = r.Faults
	}
	if len(faults) == 0 {
		return result, nil
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	return none, faults[:min(len(faults), MaxFaults)]
}
