package nsg

import (
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Prefix starts the name of every rule that is ours, of whatever kind. Rules
// carry no tags in Azure, so the name is the only mark of ownership.
const Prefix = "jitgate-"

// AllowName is the name of the n-th allow rule of a request:
// "jitgate-<request uuid>-<n>", at most 80 characters as ARM demands. request
// is a UUID in canonical lower case and n is not negative; any other name is
// refused by [ParseAllowName] and so never written by a plan.
func AllowName(request string, n int) string {
	return Prefix + request + "-" + strconv.Itoa(n)
}

// ParseAllowName is the inverse of [AllowName] and accepts exactly what it
// writes. ARM keeps the case of names, so a name that differs from ours only in
// case was written by somebody else, and is treated as such.
func ParseAllowName(name string) (request string, n int, ok bool) {
	const uuidLength = 36
	rest, ours := strings.CutPrefix(name, Prefix)
	if !ours || len(rest) < uuidLength+2 || len(name) > 80 || rest[uuidLength] != '-' {
		return "", 0, false
	}
	request, number := rest[:uuidLength], rest[uuidLength+1:]
	id, err := uuid.Parse(request)
	if err != nil || id.String() != request {
		return "", 0, false
	}
	n, err = strconv.Atoi(number)
	if err != nil || n < 0 || strconv.Itoa(n) != number {
		return "", 0, false
	}
	return request, n, true
}

// DenyPrefix starts the names of our deny rules: "jitgate-deny-<12 hex digits>".
const DenyPrefix = Prefix + "deny-"

const (
	descriptionStart = "JIT rule for "
	descriptionUntil = " until "
	expiryLayout     = "2006-01-02T15:04:05Z"
)

// Description says for whom and until when a rule stands, within ARM's 140
// characters: "JIT rule for user@domain.com until 2025-01-01T12:00:00Z". The
// time is in UTC and never shortened, because a sweep that has lost the store
// judges the rule by it; fractions of a second are dropped. who is reduced to
// ASCII letters, digits and "@._-+ ", anything else becoming "_": the text ends
// up in portals, logs and exports, and may not forge a second expiry (a time
// needs colons).
func Description(who string, until time.Time) string {
	end := descriptionUntil + until.UTC().Format(expiryLayout)
	return descriptionStart + clean(who, MaxDescription-len(descriptionStart)-len(end)) + end
}

// ExpiryOf reads back the time that [Description] wrote into the rule. It is
// tolerant of nothing else: a description somebody edited has no expiry.
func ExpiryOf(r Rule) (time.Time, bool) {
	who, text, found := cutLast(r.Description, descriptionUntil)
	who, ours := strings.CutPrefix(who, descriptionStart)
	if !found || !ours {
		return time.Time{}, false
	}
	until, err := time.Parse(expiryLayout, text)
	// Writing it again catches what time.Parse lets pass (fractions) and a who
	// that we would not have written.
	if err != nil || Description(who, until) != r.Description {
		return time.Time{}, false
	}
	return until, true
}

func cutLast(text, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}

// clean is idempotent: its own result passes unchanged, which ExpiryOf relies on.
func clean(who string, limit int) string {
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("@._-+ ", r):
			return r
		}
		return '_'
	}, who)
	safe = strings.Join(strings.Fields(safe), " ")
	if len(safe) > limit {
		safe = strings.TrimRight(safe[:limit-3], " ") + "..."
	}
	if safe == "" {
		return "unknown"
	}
	return safe
}
