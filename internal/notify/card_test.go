package notify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// pretty is the document with one value per line, as the goldens below.
func pretty(t *testing.T, document []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, document, "", " "); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func made(t *testing.T, kind Kind, n Notice) []byte {
	t.Helper()
	document, err := body(kind, n)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func TestTeamsCard(t *testing.T) {
	const want = `{
 "type": "message",
 "attachments": [
  {
   "contentType": "application/vnd.microsoft.card.adaptive",
   "contentUrl": null,
   "content": {
    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
    "type": "AdaptiveCard",
    "version": "1.4",
    "body": [
     {
      "type": "RichTextBlock",
      "inlines": [
       {
        "type": "TextRun",
        "text": "alice asks for vm-app-01",
        "size": "Medium",
        "weight": "Bolder"
       }
      ]
     },
     {
      "type": "RichTextBlock",
      "inlines": [
       {
        "type": "TextRun",
        "text": "Requester: ",
        "weight": "Bolder"
       },
       {
        "type": "TextRun",
        "text": "alice@example.org"
       }
      ]
     },
     {
      "type": "RichTextBlock",
      "inlines": [
       {
        "type": "TextRun",
        "text": "Reason: ",
        "weight": "Bolder"
       },
       {
        "type": "TextRun",
        "text": "CHG-7 <b>&</b> *now*"
       }
      ]
     }
    ],
    "actions": [
     {
      "type": "Action.OpenUrl",
      "title": "Open in jitgate",
      "url": "https://jit.example.org/requests/1?a=1&b=2"
     }
    ]
   }
  }
 ]
}`
	if d := cmp.Diff(want, pretty(t, made(t, Teams, notice()))); d != "" {
		t.Error(d)
	}
}

func TestSlackMessage(t *testing.T) {
	const want = `{
 "text": "alice asks for vm-app-01",
 "mrkdwn": false,
 "blocks": [
  {
   "type": "section",
   "text": {
    "type": "plain_text",
    "text": "alice asks for vm-app-01"
   }
  },
  {
   "type": "section",
   "fields": [
    {
     "type": "plain_text",
     "text": "Requester"
    },
    {
     "type": "plain_text",
     "text": "alice@example.org"
    },
    {
     "type": "plain_text",
     "text": "Reason"
    },
    {
     "type": "plain_text",
     "text": "CHG-7 &lt;b&gt;&amp;&lt;/b&gt; *now*"
    }
   ]
  },
  {
   "type": "section",
   "text": {
    "type": "mrkdwn",
    "text": "<https://jit.example.org/requests/1?a=1&amp;b=2|Open in jitgate>",
    "verbatim": true
   }
  }
 ]
}`
	if d := cmp.Diff(want, pretty(t, made(t, Slack, notice()))); d != "" {
		t.Error(d)
	}
}

func TestWebhookBody(t *testing.T) {
	const want = `{
 "id": "0190-n_1",
 "event": "request.awaiting-approval",
 "at": "2027-03-01T12:00:00Z",
 "title": "alice asks for vm-app-01",
 "link": "https://jit.example.org/requests/1?a=1&b=2",
 "data": {
  "requestId": "1"
 }
}`
	if d := cmp.Diff(want, pretty(t, made(t, Webhook, notice()))); d != "" {
		t.Error(d)
	}
	elsewhere := notice()
	elsewhere.At = noon.In(time.FixedZone("", 3600))
	if d := cmp.Diff(want, pretty(t, made(t, Webhook, elsewhere))); d != "" {
		t.Error("a time elsewhere:", d)
	}
	for _, kind := range []Kind{LogicAppCallback, LogicAppTrigger} {
		if d := cmp.Diff(`{"requestId":"1"}`, string(made(t, kind, notice()))); d != "" {
			t.Error(kind, d)
		}
	}
}

func TestNoticesWithLittleInThem(t *testing.T) {
	for _, kind := range []Kind{Teams, Slack} {
		text := string(made(t, kind, Notice{Event: "suspicious", Link: "javascript:alert(1)", Facts: []Fact{{}}}))
		if strings.Contains(text, "javascript") || strings.Contains(text, `"text":""`) || !strings.Contains(text, "suspicious") {
			t.Errorf("%s: %s", kind, text)
		}
	}
}

func TestLine(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 10, "–"},
		{" \t\r\n", 10, "–"},
		{"two\n\nlines\u2028and\vmore", 100, "two lines and more"},
		{"nul\x00 esc\x1b[31m", 100, "nul esc [31m"},
		{"txt\u202Eexe.\u2066", 100, "txtexe."},
		{"bad \xff utf-8", 100, "bad \uFFFD utf-8"},
		{"1234567890", 10, "1234567890"},
		{"12345678901", 10, "123456789…"},
		{"äöüäöüäöüä", 10, "äöüäöüäöüä"},
		{"äöüäöüäöüäö", 10, "äöüäöüäöü…"},
		{"12345678 01", 10, "12345678…"},
		{"  some \u00a0 space   ", 100, "some space"},
		{"two", 1, "…"},
	} {
		if got := line(c.in, c.limit); got != c.want {
			t.Errorf("%q in %d: %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

func TestLinks(t *testing.T) {
	for in, want := range map[string]string{
		"https://jit.example.org/r/1":          "https://jit.example.org/r/1",
		"http://localhost:7071/r/1":            "http://localhost:7071/r/1",
		"https://a.org/?q=x|y<z>":              "https://a.org/?q=x%7Cy%3Cz%3E",
		"https://a.org/x|y":                    "https://a.org/x%7Cy",
		"javascript:alert(1)":                  "",
		"data:text/html,x":                     "",
		"msteams:/l/x":                         "",
		"/requests/1":                          "",
		"https://":                             "",
		"https://:443/":                        "",
		"https://bank.org@evil.org/":           "",
		"https://a.org/\n":                     "",
		"":                                     "",
		"https://" + strings.Repeat("a", 2000): "",
	} {
		if got := (Notice{Link: in}).link(); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// extreme draws notices that are as large and as nasty as they come.
func extreme() *rapid.Generator[Notice] {
	text := rapid.OneOf(
		rapid.String(),
		rapid.Custom(func(t *rapid.T) string {
			piece := rapid.SampledFrom([]string{"<", "&", `"`, `\`, "{", "|", "😀", "\u0001", "\n", "[a](https://evil.org)", "<!channel>", "<@U1>", "*_~`", "{{DATE(2027-01-01T00:00:00Z)}}"}).Draw(t, "piece")
			return strings.Repeat(piece, rapid.SampledFrom([]int{1, 40, 3000}).Draw(t, "times"))
		}))
	return rapid.Custom(func(t *rapid.T) Notice {
		return Notice{
			ID:    "1",
			Title: text.Draw(t, "title"),
			Facts: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Fact {
				return Fact{text.Draw(t, "name"), text.Draw(t, "value")}
			}), 0, 30).Draw(t, "facts"),
			Link: rapid.OneOf(text, rapid.Just("https://a.org/?"+strings.Repeat(`"`, 1900)), rapid.Just("https://a.org/?x=|>&<!channel>")).Draw(t, "link"),
		}
	})
}

func TestCardsFitWhateverIsInThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := extreme().Draw(t, "notice")
		checkTeams(t, n)
		checkSlack(t, n)
	})
	// The largest there is.
	for _, s := range []string{`"`, `\`, "😀", "<", "&", "{"} {
		n := Notice{Title: strings.Repeat(s, 5000), Link: "https://a.org/?" + strings.Repeat(`"`, 1900)}
		for range 100 {
			n.Facts = append(n.Facts, Fact{strings.Repeat(s, 5000), strings.Repeat(s, 5000)})
		}
		checkTeams(t, n)
		checkSlack(t, n)
	}
}

type tester interface {
	Helper()
	Errorf(string, ...any)
	Fatal(...any)
}

func checkTeams(t tester, n Notice) {
	t.Helper()
	document, err := teamsBody(n)
	if err != nil {
		t.Fatal(err)
	}
	asString, err := encode(string(document))
	if err != nil || len(asString) > teamsLimit {
		t.Errorf("%d bytes, counted as %d", len(document), len(asString))
	}
	var m teamsMessage
	if err := json.Unmarshal(document, &m); err != nil {
		t.Fatal(err)
	}
	c := m.Attachments[0].Content
	shown := min(len(n.Facts), maxFacts)
	if lines := len(c.Body) - 1; lines < shown || lines > shown+1 {
		t.Errorf("%d lines for %d facts", lines, len(n.Facts))
	}
	for _, block := range c.Body {
		if block.Type != "RichTextBlock" {
			t.Errorf("a %s reads its text as Markdown", block.Type)
		}
		for _, run := range block.Inlines {
			if run.Text == "" || strings.Contains(run.Text, "{{") || strings.ContainsAny(run.Text, "\r\n\x00") {
				t.Errorf("text %q", run.Text)
			}
		}
	}
	for _, a := range c.Actions {
		if a.Type != "Action.OpenUrl" || !strings.HasPrefix(a.URL, "http") {
			t.Errorf("action %+v", a)
		}
	}
}

func checkSlack(t tester, n Notice) {
	t.Helper()
	document, err := slackBody(n)
	if err != nil {
		t.Fatal(err)
	}
	var m slackMessage
	if err := json.Unmarshal(document, &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Blocks) > 50 || len(m.Text) > 4000 || m.Mrkdwn {
		t.Errorf("%d blocks, text of %d", len(m.Blocks), len(m.Text))
	}
	shown := 0
	text := func(s slackText, limit int) {
		if n := utf8.RuneCountInString(s.Text); n == 0 || n > limit {
			t.Errorf("a text of %d characters, %d are allowed", n, limit)
		}
		switch s.Type {
		case "plain_text":
			rest := strings.NewReplacer("&amp;", "", "&lt;", "", "&gt;", "").Replace(s.Text)
			if strings.ContainsAny(rest, "<>&\r\n") {
				t.Errorf("not escaped: %q", s.Text)
			}
		case "mrkdwn": // nothing but our link
			inside, tail, _ := strings.Cut(strings.TrimPrefix(s.Text, "<"), "|")
			if tail != "Open in jitgate>" || strings.ContainsAny(inside, "<>|") || !strings.HasPrefix(inside, "http") || !s.Verbatim {
				t.Errorf("link %q", s.Text)
			}
		default:
			t.Errorf("type %q", s.Type)
		}
	}
	text(slackText{Type: "plain_text", Text: m.Text}, 4000)
	for _, b := range m.Blocks {
		if b.Text != nil {
			text(*b.Text, 3000)
		}
		if len(b.Fields) > 10 || len(b.Fields)%2 != 0 {
			t.Errorf("%d fields", len(b.Fields))
		}
		shown += len(b.Fields) / 2
		for _, f := range b.Fields {
			text(f, 2000)
		}
	}
	if shown != min(len(n.Facts), maxFacts) {
		t.Errorf("%d of %d facts", shown, len(n.Facts))
	}
}

func TestFactsLeftOutAreCounted(t *testing.T) {
	n := notice()
	n.Facts = nil
	for i := range maxFacts + 3 {
		n.Facts = append(n.Facts, Fact{fmt.Sprint("name ", i), "value"})
	}
	for _, kind := range []Kind{Teams, Slack} {
		if text := string(made(t, kind, n)); !strings.Contains(text, "… and 3 more") {
			t.Errorf("%s: %s", kind, text)
		}
	}
}

// FuzzCards: any text gives a card that fits and holds nothing but text.
func FuzzCards(f *testing.F) {
	f.Add("title", "name", "value", "https://a.org/")
	f.Add("<!channel>", "{{{TIME(2027-01-01T00:00:00Z)}}", "\u202e\xff\x00\r\n|>", "https://a.org/|>&<!here>")
	f.Fuzz(func(t *testing.T, title, name, value, link string) {
		n := Notice{Title: title, Facts: []Fact{{name, value}}, Link: link}
		checkTeams(t, n)
		checkSlack(t, n)
	})
}
