package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestDiff(t *testing.T) {
	old := parse(t, full)
	changed := strings.Replace(strings.Replace(full, "quorum: 2", "quorum: 3", 1), "flushConnection: true\n", "", 1)
	want := `@@ line 20 @@
  approval:
    approvers:
      groups: ["` + groupB + `"]
-   quorum: 2
+   quorum: 3
    within: PT4H
  windows:
    - zone: Europe/Berlin
@@ line 38 @@
    requesters:
      roles: [Jit.BreakGlass]
    reviewWithin: PT48H
- flushConnection: true
`
	if diff := cmp.Diff(want, Diff(old, parse(t, changed))); diff != "" {
		t.Error(diff)
	}
	if got := Diff(old, parse(t, "# a comment\n"+full)); got != "" {
		t.Errorf("comments differ: %s", got)
	}
}

// TestDiffRebuilds: what a comparison keeps and takes out is the old text, what it
// keeps and brings in the new one.
func TestDiffRebuilds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 0, 12)
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		var olds, news []string
		kept := 0
		for _, c := range compare(a, b) {
			if c.mark != '+' {
				olds = append(olds, c.text)
			}
			if c.mark != '-' {
				news = append(news, c.text)
				if c.line != len(news) {
					t.Fatalf("line %d is called %d", len(news), c.line)
				}
			}
			if c.mark == ' ' {
				kept++
			}
		}
		if strings.Join(olds, "") != strings.Join(a, "") || strings.Join(news, "") != strings.Join(b, "") {
			t.Fatalf("%v and %v became %v and %v", a, b, olds, news)
		}
		if best := common(a, b); kept != best {
			t.Fatalf("%v and %v: %d lines kept, %d could be", a, b, kept, best)
		}
	})
}

// common is the length of the longest common subsequence, by trying everything.
func common(a, b []string) int {
	memo := map[[2]int]int{}
	var at func(i, j int) int
	at = func(i, j int) int {
		if i == len(a) || j == len(b) {
			return 0
		}
		if n, ok := memo[[2]int{i, j}]; ok {
			return n
		}
		n := max(at(i+1, j), at(i, j+1))
		if a[i] == b[j] {
			n = max(n, 1+at(i+1, j+1))
		}
		memo[[2]int{i, j}] = n
		return n
	}
	return at(0, 0)
}
