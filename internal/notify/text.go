package notify

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"unicode"
)

// How much people get to read, in characters. The link leads to the rest. A value
// fits into a field of Slack, which holds 2000 characters, even if each of its
// characters takes five once it is escaped.
const (
	maxTitle = 150
	maxName  = 60
	maxValue = 300
	maxFacts = 20
	maxLink  = 2000
)

// nothing stands for empty text: Slack refuses a message with an empty one.
const nothing = "–"

// line makes one line of at most limit characters out of what somebody wrote.
// Line breaks would let a reason look like a further fact, and characters that
// change the direction of writing let it read differently from what it says.
func line(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		case unicode.IsControl(r), unicode.In(r, unicode.Zl, unicode.Zp):
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if s == "" {
		return nothing
	}
	if runes := []rune(s); len(runes) > limit {
		return strings.TrimSpace(string(runes[:limit-1])) + "…"
	}
	return s
}

// title falls back on the event: a message without a headline says nothing where
// only headlines are shown.
func (n Notice) title(limit int) string {
	if strings.TrimSpace(n.Title) == "" {
		return line(n.Event, limit)
	}
	return line(n.Title, limit)
}

// facts are the facts to show, and how many more there are.
func (n Notice) facts() (shown []Fact, more int) {
	shown = n.Facts[:min(len(n.Facts), maxFacts)]
	return shown, len(n.Facts) - len(shown)
}

// link is the address for people to open, or "": a notice without a link is
// better than none, and far better than one with "javascript:" in it.
func (n Notice) link() string {
	u, err := url.Parse(n.Link)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || len(n.Link) > maxLink {
		return ""
	}
	// Slack's own syntax ends a link with these.
	return strings.NewReplacer("|", "%7C", "<", "%3C", ">", "%3E").Replace(u.String())
}

// encode is JSON without the escapes that make it safe inside of HTML: they would
// make text sixfold, and none of the receivers puts the document into a page.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
