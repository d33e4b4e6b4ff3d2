package notify

import (
	"fmt"
	"slices"
	"strings"
)

type (
	slackMessage struct {
		Text   string       `json:"text"` // where blocks are not shown: notifications, screen readers
		Mrkdwn bool         `json:"mrkdwn"`
		Blocks []slackBlock `json:"blocks"`
	}
	slackBlock struct {
		Type   string      `json:"type"`
		Text   *slackText  `json:"text,omitempty"`
		Fields []slackText `json:"fields,omitempty"`
	}
	slackText struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		Verbatim bool   `json:"verbatim,omitempty"`
	}
)

// A section holds ten fields, and shows them in two columns: name and value.
const slackFactsPerSection = 5

// slackBody is a message of blocks. Text that people wrote is plain text: in
// mrkdwn a reason could look like a further fact or mention a whole channel.
func slackBody(n Notice) ([]byte, error) {
	title := slackEscape(n.title(maxTitle))
	m := slackMessage{Text: title}
	section := func(s slackText) { m.Blocks = append(m.Blocks, slackBlock{Type: "section", Text: &s}) }
	// A header holds 150 characters, escaped; a section has room.
	section(slackText{Type: "plain_text", Text: title})

	facts, more := n.facts()
	for chunk := range slices.Chunk(facts, slackFactsPerSection) {
		var fields []slackText
		for _, f := range chunk {
			fields = append(fields,
				slackText{Type: "plain_text", Text: slackEscape(line(f.Name, maxName))},
				slackText{Type: "plain_text", Text: slackEscape(line(f.Value, maxValue))})
		}
		m.Blocks = append(m.Blocks, slackBlock{Type: "section", Fields: fields})
	}
	if more > 0 {
		section(slackText{Type: "plain_text", Text: fmt.Sprintf("… and %d more", more)})
	}
	if link := n.link(); link != "" {
		// Verbatim: nothing but the link is to be found in it.
		section(slackText{Type: "mrkdwn", Text: "<" + slackEscape(link) + "|Open in jitgate>", Verbatim: true})
	}
	return encode(m)
}

// slackEscape takes care of the three characters that control parsing in all text
// objects (Slack, formatting message text).
func slackEscape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
