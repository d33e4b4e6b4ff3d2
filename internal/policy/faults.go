package policy

import (
	"fmt"
	"strings"
)

// Fault is one thing wrong with a document. What it quotes from the document is
// cut to 60 characters, so that an answer stays smaller than the question.
type Fault struct {
	Line     int    `json:"line"`   // from 1
	Column   int    `json:"column"` // from 1, in characters
	Path     string `json:"path"`   // such as "sources[0].range"; empty for the document itself
	Sentence string `json:"sentence"`
}

// Faults are the faults of a document in the order they stand in it, at most
// 100 of them.
type Faults []Fault

const maxFaults = 100

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fmt.Sprintf("line %d, column %d: %s", fault.Line, fault.Column, fault.Sentence)
	}
	return strings.Join(lines, "\n")
}
