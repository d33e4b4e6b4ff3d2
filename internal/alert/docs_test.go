package alert

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestGuideSnippets reads the rules and the bodies that docs/policy.md shows, and
// checks that it names every key, action and refusal.
func TestGuideSnippets(t *testing.T) {
	data, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	documents, bodies := 0, 0
	for _, block := range regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```\n").FindAllStringSubmatch(string(data), -1) {
		switch {
		case strings.HasPrefix(block[2], "apiVersion: "+APIVersion):
			documents++
			_, err = ParseRules([]byte(block[2]))
		case block[1] == "json":
			bodies++
			_, err = Parse([]byte(block[2]))
		}
		if err != nil {
			t.Fatalf("%v\nin\n%s", err, block[2])
		}
	}
	if documents == 0 || bodies == 0 {
		t.Errorf("%d documents and %d bodies were found", documents, bodies)
	}
	_, section, _ := strings.Cut(string(data), "## Alert rules")
	words := []string{"rule", "severity", "service", "subscription", "custom", "condition", "source", "allow"}
	for _, verb := range verbs {
		words = append(words, string(verb))
	}
	for _, code := range []Code{Malformed, OldSchema, UnknownSchema} {
		words = append(words, string(code))
	}
	for _, word := range append(words, ownMembers...) {
		if !regexp.MustCompile("[`\"]" + word + "[`\":]").MatchString(section) {
			t.Errorf("%s is not explained", word)
		}
	}
}

func TestDemoRules(t *testing.T) {
	data, err := os.ReadFile("../../docs/examples/demo-alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseRules(data); err != nil {
		t.Error(err)
	}
}
