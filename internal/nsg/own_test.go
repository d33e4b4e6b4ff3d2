package nsg

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const request = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"

func TestAllowNamesAreReadBackExactly(t *testing.T) {
	for _, n := range []int{0, 1, 7, 10, 999} {
		name := AllowName(request, n)
		gotRequest, gotN, ok := ParseAllowName(name)
		if !ok || gotRequest != request || gotN != n {
			t.Errorf("ParseAllowName(%q) = %q, %d, %v", name, gotRequest, gotN, ok)
		}
		if len(name) > 80 {
			t.Errorf("%q is longer than ARM allows", name)
		}
	}
	if name := AllowName(request, 1); name != "jitgate-"+request+"-1" {
		t.Errorf("the name is %q", name)
	}
}

func TestOtherNamesAreNotOurs(t *testing.T) {
	for _, name := range []string{
		"", "jitgate-", "jitgate-deny", "jitgate-deny-22", request + "-1",
		"jitgate-" + request,
		"jitgate-" + request + "-",
		"jitgate-" + request + "-01",
		"jitgate-" + request + "-+1",
		"jitgate-" + request + "--1",
		"jitgate-" + request + "-1 ",
		"jitgate-" + request + "-1-2",
		"jitgate-" + request + "-x",
		"jitgate-" + request + "-99999999999999999999",
		"jitgate-" + request + "-" + strings.Repeat("1", 60),
		"Jitgate-" + request + "-1",
		"jitgate-" + strings.ToUpper(request) + "-1",
		"jitgate-{" + request[:34] + "}-1",
		"jitgate-" + strings.ReplaceAll(request, "-", "0") + "-1",
		"SecurityCenter-JITRule-123-" + strings.ReplaceAll(request, "-", ""),
	} {
		if _, _, ok := ParseAllowName(name); ok {
			t.Errorf("%q is taken for ours", name)
		}
	}
}

func TestDescriptions(t *testing.T) {
	until := time.Date(2025, 1, 1, 13, 0, 0, 999, time.FixedZone("CET", 3600))
	for _, c := range []struct{ who, want string }{
		{"user@domain.com", "JIT rule for user@domain.com until 2025-01-01T12:00:00Z"},
		{"Ann O'Neil+x", "JIT rule for Ann O_Neil+x until 2025-01-01T12:00:00Z"},
		{"a_b.com#EXT#@t.onmicrosoft.com", "JIT rule for a_b.com_EXT_@t.onmicrosoft.com until 2025-01-01T12:00:00Z"},
		{"  two \t\n words ", "JIT rule for two __ words until 2025-01-01T12:00:00Z"},
		{"jörg\x00<b>", "JIT rule for j_rg__b_ until 2025-01-01T12:00:00Z"},
		{"", "JIT rule for unknown until 2025-01-01T12:00:00Z"},
		{"x until 2099-01-01T00:00:00Z", "JIT rule for x until 2099-01-01T00_00_00Z until 2025-01-01T12:00:00Z"},
		{strings.Repeat("a", 101), "JIT rule for " + strings.Repeat("a", 97) + "... until 2025-01-01T12:00:00Z"},
		{strings.Repeat("a", 100), "JIT rule for " + strings.Repeat("a", 100) + " until 2025-01-01T12:00:00Z"},
	} {
		if got := Description(c.who, until); got != c.want {
			t.Errorf("Description(%q)\n got %q\nwant %q", c.who, got, c.want)
		}
	}
}

func TestExpiryIsReadFromOurOwnWordsOnly(t *testing.T) {
	for _, text := range []string{
		"", "JIT rule", "JIT rule for  until 2025-01-01T12:00:00Z",
		"jit rule for a until 2025-01-01T12:00:00Z",
		"JIT rule for a until 2025-01-01T12:00:00",
		"JIT rule for a until 2025-01-01T12:00:00+00:00",
		"JIT rule for a until 2025-01-01T12:00:00.5Z",
		"JIT rule for a until 2025-01-01 12:00:00Z",
		"JIT rule for a until 2025-02-30T12:00:00Z",
		"JIT rule for a until 2025-01-01T12:00:00Z ",
		" JIT rule for a until 2025-01-01T12:00:00Z",
		"JIT rule for a  b until 2025-01-01T12:00:00Z",
		"JIT rule for a:b until 2025-01-01T12:00:00Z",
		"JIT rule for a until 2025-01-01T12:00:00Z extended",
		"JIT rule for " + strings.Repeat("a", 101) + " until 2025-01-01T12:00:00Z",
	} {
		if at, ok := ExpiryOf(Rule{Description: text}); ok {
			t.Errorf("%q is taken for an expiry at %v", text, at)
		}
	}
}

func TestExpiryComesBackForAnyName(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkDescription(t, rapid.String().Draw(t, "who"), rapid.Int64Range(0, 4e9).Draw(t, "unix"))
	})
}

func FuzzDescription(f *testing.F) {
	f.Add("user@domain.com", int64(1735732800))
	f.Add("x until 2099-01-01T00:00:00Z", int64(0))
	f.Add(strings.Repeat("é ", 200), int64(4e9))
	f.Fuzz(func(t *testing.T, who string, unix int64) {
		checkDescription(t, who, max(0, min(unix, 4e9)))
	})
}

func checkDescription(t interface{ Fatalf(string, ...any) }, who string, unix int64) {
	until := time.Unix(unix, 0)
	text := Description(who, until)
	if len(text) > MaxDescription {
		t.Fatalf("%d characters: %q", len(text), text)
	}
	for _, r := range text {
		if r < ' ' || r > '~' {
			t.Fatalf("%q holds %q", text, r)
		}
	}
	got, ok := ExpiryOf(Rule{Description: text})
	if !ok || !got.Equal(until) {
		t.Fatalf("ExpiryOf(%q) = %v, %v", text, got, ok)
	}
}
