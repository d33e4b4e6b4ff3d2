package policy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const guide = "../../docs/policy.md"

func readFile(t *testing.T, name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```\n")

// TestGuideSnippets reads the policies that docs/policy.md shows, and holds the faults
// that it shows behind one against those that are found. All other snippets stand word
// for word in an example.
func TestGuideSnippets(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(examples, "policies", "*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var copied strings.Builder
	for _, file := range files {
		copied.WriteString(readFile(t, file))
	}
	blocks := fence.FindAllStringSubmatch(readFile(t, guide), -1)
	read := 0
	for i, block := range blocks {
		text := block[2]
		switch {
		case block[1] != "yaml" || strings.HasPrefix(text, "apiVersion: jitgate/alerts/"):
		case !strings.HasPrefix(text, "apiVersion: "):
			if !strings.Contains(copied.String(), text) {
				t.Errorf("no example has this:\n%s", text)
			}
		default:
			read++
			want, got := "", ""
			if i+1 < len(blocks) && strings.HasPrefix(blocks[i+1][2], "line ") {
				want = strings.TrimSpace(blocks[i+1][2])
			}
			if _, err := Parse([]byte(text)); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("faults\n%s\nwant\n%s\nof\n%s", got, want, text)
			}
		}
	}
	if read < 3 {
		t.Errorf("only %d policies were found", read)
	}
}

var quoted = regexp.MustCompile(`[^*]\*([A-Z][^*\n]+\.)\*[^*]`)

// TestGuideQuotes: what docs/policy.md lets jitgate say, some case makes it say.
func TestGuideQuotes(t *testing.T) {
	said := map[string]bool{}
	for _, folder := range exampleFolders(t) {
		set, cases := loadExamples(t, folder)
		for _, r := range RunCases(set, cases) {
			for _, refusal := range r.Decision.Refusals {
				said[refusal.Sentence] = true
			}
		}
	}
	quotes := quoted.FindAllStringSubmatch(readFile(t, guide), -1)
	for _, quote := range quotes {
		if !said[quote[1]] {
			t.Errorf("no case says: %s", quote[1])
		}
	}
	if len(quotes) < 10 {
		t.Errorf("only %d quotes were found", len(quotes))
	}
}

// TestGuideIsComplete: a key or code that docs/policy.md does not name might as well
// not exist.
func TestGuideIsComplete(t *testing.T) {
	words := slices.Concat(documentKeys, names)
	for _, file := range []string{"refusal.go", "lint.go"} {
		for _, code := range regexp.MustCompile(`(?m)^\t\w+ += "([a-z_]+)"`).FindAllStringSubmatch(readFile(t, file), -1) {
			words = append(words, code[1])
		}
	}
	text := readFile(t, guide)
	for _, word := range words {
		if !strings.Contains(text, "`"+word+"`") {
			t.Errorf("%s is not explained", word)
		}
	}
	if len(words) < 50 {
		t.Errorf("only %d words were found", len(words))
	}
}
