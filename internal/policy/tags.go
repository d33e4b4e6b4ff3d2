package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bounds of Azure's tags (Azure Resource Manager docs, "Use tags": limitations).
const (
	maxTags     = 50
	maxTagName  = 512
	maxTagValue = 256
	notInTags   = `<>%&\?/`
)

// matches reports whether a machine with the given tags has all that d selects
// by. Azure ignores the case of tag names, not that of values.
func (d Document) matches(tags map[string]string) bool {
	if len(d.Tags) == 0 {
		return true
	}
	have := foldedTags(tags)
	for name, value := range d.Tags {
		if got, ok := have[strings.ToLower(name)]; !ok || got != value {
			return false
		}
	}
	return true
}

// foldedTags are the tags under names in lower case.
func foldedTags(tags map[string]string) map[string]string {
	folded := make(map[string]string, len(tags))
	for name, value := range tags {
		folded[strings.ToLower(name)] = value
	}
	return folded
}

// agree reports whether some machine can have the tags of both documents.
func (d Document) agree(o Document) bool {
	have := foldedTags(o.Tags)
	for name, value := range foldedTags(d.Tags) {
		if other, both := have[name]; both && other != value {
			return false
		}
	}
	return true
}

// Key is 64 hexadecimal characters, a legal storage key: documents of one key
// replace each other. A plain policy without tags has the key of its scope. A
// guardrail has another than the policy of the same scope and tags, because both
// can be in force: one says what is allowed, the other what is not.
func (d Document) Key() string {
	if len(d.Tags) == 0 && !d.Enforced {
		return d.Scope.Key()
	}
	tags, err := json.Marshal(foldedTags(d.Tags))
	if err != nil {
		panic(err) // a map of strings cannot fail
	}
	return hashed(fmt.Sprintf("%s %t %s", d.Scope.Key(), d.Enforced, tags))
}

// Name is what people call the document's machines: "resource group rg-demo
// (env=prod)".
func (d Document) Name() string { return d.Scope.Name() + d.selector(" (", ")") }

// Ref names a policy on record: "{scope} version 3", and its tags where it has
// some: "{scope} [env=prod] version 3". A guardrail is "guardrail {scope} …".
func (p Policy) Ref() string {
	kind := ""
	if p.Enforced {
		kind = "guardrail "
	}
	return fmt.Sprintf("%s%s%s version %d", kind, p.Scope, p.selector(" [", "]"), p.Version)
}

func (d Document) selector(open, shut string) string {
	if len(d.Tags) == 0 {
		return ""
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(d.Tags)) {
		words = append(words, name+"="+d.Tags[name])
	}
	return open + strings.Join(words, ", ") + shut
}
