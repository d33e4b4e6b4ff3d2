package policy

import (
	"bytes"
	"encoding/json"
	"net/netip"
)

// APIVersion of the documents this package reads.
const APIVersion = "jitgate/v1"

// Document is a policy as written. Only [Parse] makes valid ones: decoding JSON
// into it checks nothing. json.Marshal gives its canonical JSON,
// [Document.YAML] its canonical YAML; Parse reads both back to an equal
// document. What a document leaves out is absent from both, so that documents
// from before a key existed keep their digest.
type Document struct {
	APIVersion string `json:"apiVersion"`
	Scope      Scope  `json:"scope"`
	// Tags narrow the scope to machines that have all of them.
	Tags map[string]string `json:"tags,omitempty"`
	// Enforced makes the document a guardrail: it is asked besides the nearest one,
	// cannot be loosened, and by itself allows nothing. It may leave ports, sources
	// and maxDuration out and then says nothing about them.
	Enforced    bool     `json:"enforced,omitempty"`
	Ports       []Port   `json:"ports,omitempty"`
	Sources     []Source `json:"sources,omitempty"`
	MaxDuration Duration `json:"maxDuration,omitempty"`
	// DefaultDuration is zero when the document leaves it out; see [Policy.Default].
	DefaultDuration Duration `json:"defaultDuration,omitempty"`
	// Extensions is how many times access may be extended, up to MaxDuration in all and
	// without being approved again. Nil is none; of a guardrail, that it says nothing.
	Extensions *int `json:"extensions,omitempty"`
	// Requesters nil is whoever of the home tenant may ask at all; of a guardrail, that it
	// says nothing.
	Requesters    *Requesters        `json:"requesters,omitempty"`
	Justification *JustificationRule `json:"justification,omitempty"`
	Approval      *ApprovalRule      `json:"approval,omitempty"` // nil = none is needed
	// Windows and Maintenance are the times at which access may be open; with
	// neither it may be at any time.
	Windows     []Window        `json:"windows,omitempty"`
	Maintenance []Period        `json:"maintenance,omitempty"`
	Conditions  []Condition     `json:"conditions,omitempty"`
	BreakGlass  *BreakGlassRule `json:"breakGlass,omitempty"` // nil = nobody may
	// Interfaces says which network interfaces of a VM are protected and opened, and
	// Reach whether a VM that has no public address is to be protected as well. The
	// zero values are the defaults. FlushConnection cuts sessions that are open when
	// access ends. A guardrail has none of the three.
	Interfaces      Interfaces `json:"interfaces,omitempty"`
	Reach           Reach      `json:"reach,omitempty"`
	FlushConnection bool       `json:"flushConnection,omitempty"`
	// Text is the document as it was handed in, comments and all.
	Text string `json:"-"`
}

// Interfaces is "primary" (the default, and then empty) or "all".
type Interfaces string

// Reach is "public" (the default, and then empty) or "any".
type Reach string

const (
	AllInterfaces Interfaces = "all"
	AnyReach      Reach      = "any"
)

// Source is a range that asks may name a part of. {any: true} in a document is
// short for 0.0.0.0/0 and ::/0, both with Widest 0.
type Source struct {
	Range netip.Prefix `json:"range"`
	// Widest is the shortest prefix length that an ask may name, at least that
	// of Range: with a /24 and 32 only single addresses out of it.
	Widest int `json:"widest"`
}

// JustificationRule says what a justification must look like.
type JustificationRule struct {
	Required bool `json:"required,omitempty"`
	// Pattern, in RE2 syntax and not anchored, is held against the justification
	// without the spaces around it, also against none at all.
	Pattern string `json:"pattern,omitempty"`
	Message string `json:"message,omitempty"` // shown instead of the pattern
}

// ApprovalRule says who must agree. Applications among the approvers are workflows
// whose word counts for whoever they say has agreed.
type ApprovalRule struct {
	Approvers *Principals `json:"approvers,omitempty"` // nil = whoever may approve at all
	Quorum    int         `json:"quorum"`              // distinct approvers, from 1
	Within    Duration    `json:"within"`              // time to decide
}

// BreakGlassRule says who may open at once, and how soon that is to be reviewed.
type BreakGlassRule struct {
	Requesters   Principals `json:"requesters"`
	ReviewWithin Duration   `json:"reviewWithin"`
}

// Condition is a CEL expression that must be true.
type Condition struct {
	Expression string `json:"expression"`
	Message    string `json:"message"` // one sentence, shown when it is not
}

// Equal reports whether both documents say the same, however they are written.
func (d Document) Equal(o Document) bool { return bytes.Equal(d.canonical(), o.canonical()) }

// Digest is the SHA-256 of the canonical JSON, in hexadecimal: equal for
// documents that say the same, whatever their comments and layout. Like
// everything of Azure's, the scope and names of tags count without regard to case.
func (d Document) Digest() string { return hashed(string(d.canonical())) }

func (d Document) canonical() []byte {
	d.Scope = d.Scope.folded()
	d.Tags = foldedTags(d.Tags)
	data, err := json.Marshal(d)
	if err != nil {
		panic(err) // no field of a document can fail
	}
	return data
}
