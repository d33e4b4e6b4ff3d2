package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// YAML is the canonical form for people: fixed order, one thing per line, nothing
// left to defaults.
func (d Document) YAML() []byte {
	w := &yamlWriter{}
	w.line("apiVersion: %s", quote(d.APIVersion))
	w.line("scope: %s", quote(d.Scope.String()))
	w.block("tags:", len(d.Tags), func() {
		for _, name := range slices.Sorted(maps.Keys(d.Tags)) {
			w.line("  %s: %s", text(name), text(d.Tags[name]))
		}
	})
	w.flag("enforced", d.Enforced)
	w.block("ports:", len(d.Ports), func() {
		for _, p := range d.Ports {
			w.line("  - {port: %d, protocol: %s}", p.Number, quote(string(p.Protocol)))
		}
	})
	w.block("sources:", len(d.Sources), func() {
		for _, s := range d.Sources {
			w.line("  - {range: %s, widest: %d}", quote(s.Range.String()), s.Widest)
		}
	})
	w.duration("maxDuration", d.MaxDuration)
	w.duration("defaultDuration", d.DefaultDuration)
	if d.Extensions != nil {
		w.line("extensions: %d", *d.Extensions)
	}
	if r := d.Requesters; r != nil {
		w.line("requesters:")
		w.list("  tenants", r.Tenants)
		w.named("  ", r.Principals)
	}
	if j := d.Justification; j != nil {
		w.line("justification:")
		w.flag("  required", j.Required)
		w.text("  pattern", j.Pattern)
		w.text("  message", j.Message)
	}
	if a := d.Approval; a != nil {
		w.line("approval:")
		w.principals("  ", "approvers", a.Approvers)
		w.line("  quorum: %d", a.Quorum)
		w.duration("  within", a.Within)
	}
	w.block("windows:", len(d.Windows), func() {
		for _, x := range d.Windows {
			w.line("  - zone: %s", text(x.Zone))
			w.list("    days", x.Days)
			w.text("    from", x.From)
			w.text("    to", x.To)
		}
	})
	w.block("maintenance:", len(d.Maintenance), func() {
		for _, x := range d.Maintenance {
			w.line("  - {from: %s, to: %s}", text(x.From.Format(time.RFC3339Nano)), text(x.To.Format(time.RFC3339Nano)))
		}
	})
	w.block("conditions:", len(d.Conditions), func() {
		for _, c := range d.Conditions {
			w.line("  - expression: %s", text(c.Expression))
			w.text("    message", c.Message)
		}
	})
	if b := d.BreakGlass; b != nil {
		w.line("breakGlass:")
		w.principals("  ", "requesters", &b.Requesters)
		w.duration("  reviewWithin", b.ReviewWithin)
	}
	w.text("interfaces", string(d.Interfaces))
	w.text("reach", string(d.Reach))
	w.flag("flushConnection", d.FlushConnection)
	return w.b.Bytes()
}

// yamlWriter writes what is there and skips what a document leaves out.
type yamlWriter struct{ b bytes.Buffer }

func (w *yamlWriter) line(format string, args ...any) {
	fmt.Fprintf(&w.b, format, args...)
	w.b.WriteByte('\n')
}

func (w *yamlWriter) block(head string, entries int, body func()) {
	if entries > 0 {
		w.line("%s", head)
		body()
	}
}

func (w *yamlWriter) flag(key string, on bool) {
	if on {
		w.line("%s: true", key)
	}
}

func (w *yamlWriter) text(key, value string) {
	if value != "" {
		w.line("%s: %s", key, text(value))
	}
}

func (w *yamlWriter) duration(key string, d Duration) {
	if d != 0 {
		w.line("%s: %s", key, d)
	}
}

func (w *yamlWriter) list(key string, items []string) {
	if len(items) == 0 {
		return
	}
	words := make([]string, len(items))
	for i, item := range items {
		words[i] = text(item)
	}
	w.line("%s: [%s]", key, strings.Join(words, ", "))
}

func (w *yamlWriter) principals(indent, key string, p *Principals) {
	if p == nil {
		return
	}
	w.line("%s%s:", indent, key)
	w.named(indent+"  ", *p)
}

func (w *yamlWriter) named(indent string, p Principals) {
	w.list(indent+"roles", p.Roles)
	w.list(indent+"groups", p.Groups)
	w.list(indent+"users", p.Users)
	w.list(indent+"applications", p.Applications)
}

// quote puts text in quotes where YAML could take it for something else: IPv6
// is full of colons, and "*" starts an alias.
func quote(text string) string {
	if strings.ContainsAny(text, ":*") {
		return strconv.Quote(text)
	}
	return text
}

// text is any text as YAML: as it stands if it is a word that YAML reads as
// nothing else, else in JSON's quotes, which YAML reads alike.
func text(s string) string {
	if isWord(s) {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // expressions are full of < and &
	if err := e.Encode(s); err != nil {
		panic(err) // a string cannot fail
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// isWord is narrow on purpose: "no", "1e5", "null" and dates are not words.
func isWord(s string) bool {
	if len(s) < 3 {
		return false
	}
	for i, r := range s {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("./_", r)) {
			return false
		}
	}
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "off", "nan", "inf":
		return false
	}
	return true
}
