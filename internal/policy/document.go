package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"jitgate/internal/armid"
)

// APIVersion of the documents this package reads.
const APIVersion = "jitgate/v1"

// Document is a policy as written. Only [Parse] makes valid ones: decoding JSON
// into it checks nothing. json.Marshal gives its canonical JSON,
// [Document.YAML] its canonical YAML; Parse reads both back to an equal
// document.
type Document struct {
	APIVersion  string   `json:"apiVersion"`
	Scope       armid.ID `json:"scope"` // subscription, resource group or VM
	Ports       []Port   `json:"ports"`
	Sources     []Source `json:"sources"`
	MaxDuration Duration `json:"maxDuration"`
	// Interfaces says which network interfaces of a VM are protected and opened, and
	// Reach whether a VM that has no public address is to be protected as well. The
	// zero values are the defaults.
	Interfaces Interfaces `json:"interfaces,omitempty"`
	Reach      Reach      `json:"reach,omitempty"`
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

// Source is a range that asks may name a part of.
type Source struct {
	Range netip.Prefix `json:"range"`
	// Widest is the shortest prefix length that an ask may name, at least that
	// of Range: with a /24 and 32 only single addresses out of it.
	Widest int `json:"widest"`
}

// Equal reports whether both documents say the same, however they are written.
func (d Document) Equal(o Document) bool { return bytes.Equal(d.canonical(), o.canonical()) }

// Digest is the SHA-256 of the canonical JSON, in hexadecimal: equal for
// documents that say the same, whatever their comments and layout. Like
// everything of Azure's, the scope counts without regard to case.
func (d Document) Digest() string {
	sum := sha256.Sum256(d.canonical())
	return hex.EncodeToString(sum[:])
}

func (d Document) canonical() []byte {
	lower, err := armid.Parse(strings.ToLower(d.Scope.String()))
	if err == nil {
		d.Scope = lower
	}
	data, err := json.Marshal(d)
	if err != nil {
		panic(err) // no field of a document can fail
	}
	return data
}

// YAML is the canonical form for people: fixed order, nothing left to defaults.
func (d Document) YAML() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "apiVersion: %s\nscope: %s\nports:\n", quote(d.APIVersion), quote(d.Scope.String()))
	for _, p := range d.Ports {
		fmt.Fprintf(&b, "  - {port: %d, protocol: %s}\n", p.Number, quote(string(p.Protocol)))
	}
	b.WriteString("sources:\n")
	for _, s := range d.Sources {
		fmt.Fprintf(&b, "  - {range: %s, widest: %d}\n", quote(s.Range.String()), s.Widest)
	}
	fmt.Fprintf(&b, "maxDuration: %s\n", d.MaxDuration)
	if d.Interfaces != "" {
		fmt.Fprintf(&b, "interfaces: %s\n", d.Interfaces)
	}
	if d.Reach != "" {
		fmt.Fprintf(&b, "reach: %s\n", d.Reach)
	}
	return b.Bytes()
}

// quote puts text in quotes where YAML could take it for something else: IPv6
// is full of colons, and "*" starts an alias.
func quote(text string) string {
	if strings.ContainsAny(text, ":*") {
		return strconv.Quote(text)
	}
	return text
}
