package notify

import (
	"fmt"
	"strings"
)

// teamsLimit is how large a card may be, in bytes, as Teams counts it. Teams takes
// 28 KiB but counts more than it was sent: 28897 for a body of 24453 (msteams-docs
// issue 11274), about what the body has as a string inside of another JSON
// document. That is how it is measured here, and some room is left.
const teamsLimit = 24 << 10

type (
	teamsMessage struct {
		Type        string            `json:"type"`
		Attachments []teamsAttachment `json:"attachments"`
	}
	teamsAttachment struct {
		ContentType string    `json:"contentType"`
		ContentURL  *string   `json:"contentUrl"` // always null
		Content     teamsCard `json:"content"`
	}
	teamsCard struct {
		Schema  string        `json:"$schema"`
		Type    string        `json:"type"`
		Version string        `json:"version"`
		Body    []teamsText   `json:"body"`
		Actions []teamsAction `json:"actions,omitempty"`
	}
	teamsText struct {
		Type    string     `json:"type"`
		Inlines []teamsRun `json:"inlines"`
	}
	teamsRun struct {
		Type   string `json:"type"`
		Text   string `json:"text"`
		Size   string `json:"size,omitempty"`
		Weight string `json:"weight,omitempty"`
	}
	teamsAction struct {
		Type  string `json:"type"`
		Title string `json:"title"`
		URL   string `json:"url"`
	}
)

// teamsBody is an Adaptive Card in the envelope of a Workflows webhook. Its only
// action opens a URL: a webhook cannot have a card that submits something, and
// decisions belong where the person is signed in.
func teamsBody(n Notice) ([]byte, error) {
	for limit := maxValue; ; limit /= 2 {
		text, err := encode(teamsMessage{Type: "message", Attachments: []teamsAttachment{{
			ContentType: "application/vnd.microsoft.card.adaptive",
			Content:     card(n, limit),
		}}})
		if err != nil {
			return nil, err
		}
		counted, err := encode(string(text))
		if err != nil || len(counted) <= teamsLimit || limit <= 2 {
			return text, err
		}
	}
}

// card consists of text runs, not of the usual text blocks and fact sets: those
// read their text as Markdown, so a reason could hold a link that says one thing
// and opens another. A text run has no Markdown (Adaptive Cards schema, TextRun).
func card(n Notice, limit int) teamsCard {
	c := teamsCard{
		Schema:  "http://adaptivecards.io/schemas/adaptive-card.json",
		Type:    "AdaptiveCard",
		Version: "1.4",
	}
	add := func(runs ...teamsRun) { c.Body = append(c.Body, teamsText{Type: "RichTextBlock", Inlines: runs}) }
	add(teamsRun{Type: "TextRun", Text: unexpanded(n.title(maxTitle)), Size: "Medium", Weight: "Bolder"})
	facts, more := n.facts()
	for _, f := range facts {
		add(teamsRun{Type: "TextRun", Text: unexpanded(line(f.Name, min(limit, maxName))) + ": ", Weight: "Bolder"},
			teamsRun{Type: "TextRun", Text: unexpanded(line(f.Value, limit))})
	}
	if more > 0 {
		add(teamsRun{Type: "TextRun", Text: fmt.Sprintf("… and %d more", more)})
	}
	if link := n.link(); link != "" {
		c.Actions = []teamsAction{{Type: "Action.OpenUrl", Title: "Open in jitgate", URL: link}}
	}
	return c
}

// unexpanded keeps "{{DATE(…)}}" and "{{TIME(…)}}" as they were written: clients
// put other text in their place, in text runs too. A word joiner is not seen.
func unexpanded(s string) string {
	for strings.Contains(s, "{{") {
		s = strings.ReplaceAll(s, "{{", "{\u2060{")
	}
	return s
}
