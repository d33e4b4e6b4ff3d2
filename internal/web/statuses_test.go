package web

import (
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"jitgate/internal/access"
)

var (
	statusLine = regexp.MustCompile(`(?m)^\| (4\d\d|502) \| (.+) \|$`)
	quotedCode = regexp.MustCompile("`([a-z_]+)`")
)

// TestStatusesAreAsDocumented holds the table of statuses against the one that callers
// read: every code stands in the row of the status it is answered with.
func TestStatusesAreAsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]int{}
	for _, row := range statusLine.FindAllStringSubmatch(string(text), -1) {
		status, err := strconv.Atoi(row[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range quotedCode.FindAllStringSubmatch(strings.SplitN(row[2], ":", 2)[0], -1) {
			if before, twice := documented[code[1]]; twice {
				t.Errorf("%s stands under %d and %d", code[1], before, status)
			}
			documented[code[1]] = status
		}
	}
	if len(documented) < 90 {
		t.Fatalf("only %d codes were found", len(documented))
	}
	for code, status := range statusOf {
		if documented[string(code)] != status {
			t.Errorf("%s is answered with %d and documented under %d", code, status, documented[string(code)])
		}
	}
	for code, status := range documented {
		if _, listed := statusOf[access.Code(code)]; !listed && status != http.StatusBadRequest && !edgeCodes[code] && !strings.HasPrefix(code, "token_") {
			t.Errorf("%s is documented under %d and answered with 400", code, status)
		}
	}
}

// edgeCodes are answered before the table of statuses is asked.
var edgeCodes = map[string]bool{"operation_unknown": true, "body_too_large": true, "unsupported_media_type": true}
