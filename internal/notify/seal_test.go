package notify

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func configured(fill byte) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(rune(fill)), keySize)))
}

func keys(t *testing.T, fills ...byte) *Keys {
	t.Helper()
	var texts []string
	for _, fill := range fills {
		texts = append(texts, configured(fill))
	}
	k, err := NewKeys(texts...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealAndOpen(t *testing.T) {
	k := keys(t, 'a', 'b')
	rapid.Check(t, func(t *rapid.T) {
		text, id := rapid.String().Draw(t, "text"), rapid.String().Draw(t, "request")
		sealed := k.Seal(text, id)
		if got, err := k.Open(sealed, id); err != nil || got != text {
			t.Errorf("%q, %v", got, err)
		}
		if again := k.Seal(text, id); again == sealed {
			t.Error("the same text is sealed the same way twice: a nonce is used again")
		}
		if other := rapid.String().Draw(t, "other request"); other != id {
			if _, err := k.Open(sealed, other); !errors.Is(err, ErrSealed) {
				t.Errorf("opens for another request: %v", err)
			}
		}
	})
	sealed := k.Seal(secretURL, "r1")
	hasNoSecret(t, sealed)
	if strings.Trim(sealed, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		t.Errorf("%q needs escaping", sealed)
	}
}

func TestRotation(t *testing.T) {
	before, during, after := keys(t, 'a'), keys(t, 'b', 'a'), keys(t, 'b')
	old := before.Seal(secretURL, "r1")
	if got, err := during.Open(old, "r1"); err != nil || got != secretURL {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := after.Open(during.Seal(secretURL, "r1"), "r1"); err != nil || got != secretURL {
		t.Errorf("the first key does not seal: %q, %v", got, err)
	}
	_, err := after.Open(old, "r1")
	if !errors.Is(err, ErrSealed) || !strings.Contains(err.Error(), "not configured") {
		t.Errorf("got %v", err)
	}

	if h := during.Hashes(secretURL); len(h) != 2 || h[0] != after.Hash(secretURL) || h[0] != during.Hash(secretURL) || h[1] != before.Hash(secretURL) {
		t.Errorf("what was stored before is not found: %q", h)
	}
}

func TestHash(t *testing.T) {
	k := keys(t, 'a')
	if k.Hash(secretURL) != keys(t, 'a').Hash(secretURL) {
		t.Error("two processes with one key do not find each other's URLs")
	}
	if k.Hash(secretURL) == k.Hash(secretURL+"x") || k.Hash(secretURL) == keys(t, 'b').Hash(secretURL) || len(k.Hash("")) != 64 {
		t.Error("hashes do not tell URLs or keys apart")
	}
	hasNoSecret(t, k.Hash(secretURL))
}

func TestAlteredSealsDoNotOpen(t *testing.T) {
	k := keys(t, 'a')
	sealed := k.Seal(secretURL, "r1")
	for i := range sealed {
		replacement := byte('A')
		if sealed[i] == replacement {
			replacement = 'B'
		}
		if i == len(sealed)-1 {
			continue // its last bits may stand for nothing
		}
		text, err := k.Open(sealed[:i]+string(replacement)+sealed[i+1:], "r1")
		if !errors.Is(err, ErrSealed) || text != "" {
			t.Errorf("altered at %d: %q, %v", i, text, err)
		}
		hasNoSecret(t, err)
		if _, err := k.Open(sealed[:i], "r1"); !errors.Is(err, ErrSealed) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	for _, text := range []string{"", ".", "..", "v1", "v1.", "v1..", "v2" + sealed[2:], sealed + ".", sealed + "AAAA", " " + sealed} {
		if _, err := k.Open(text, "r1"); !errors.Is(err, ErrSealed) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestKeysOfTheWrongKind(t *testing.T) {
	good := configured('a')
	for name, texts := range map[string][]string{
		"none":     nil,
		"empty":    {""},
		"short":    {base64.StdEncoding.EncodeToString([]byte("s3cr3t-of-twenty-bytes"))},
		"long":     {base64.StdEncoding.EncodeToString([]byte(strings.Repeat("s3cr3t", 8)))},
		"words":    {"s3cr3t and not base64 at all"},
		"url-safe": {strings.Repeat("-_", 22)[:43] + "="},
		"twice":    {good, good},
	} {
		_, err := NewKeys(texts...)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		hasNoSecret(t, err)
		for _, text := range texts {
			if text != "" && strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v shows a key", name, err)
			}
		}
	}
	_, err := NewKeys("x", good, "y")
	if err == nil || !strings.Contains(err.Error(), "key 1") || !strings.Contains(err.Error(), "key 3") || strings.Contains(err.Error(), "key 2") {
		t.Errorf("not all faults at once: %v", err)
	}
	if _, err := NewKeys(" " + good + "\n"); err != nil {
		t.Error(err)
	}
}

// FuzzOpen: what the store returns never opens unless it was sealed, and never panics.
func FuzzOpen(f *testing.F) {
	k, err := NewKeys(configured('a'))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.Seal("x", "an id that no mutation of the next one comes to"), "r2")
	f.Add("v1."+k.all[0].id+".", "r1")
	f.Add("v1."+k.all[0].id+".AAAA", "")
	f.Fuzz(func(t *testing.T, sealed, id string) {
		if text, err := k.Open(sealed, id); !errors.Is(err, ErrSealed) || text != "" {
			t.Errorf("%q, %v", text, err)
		}
	})
}
