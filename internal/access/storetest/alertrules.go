package storetest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"jitgate/internal/access"
)

var alertRulesTests = map[string]func(*testing.T, Store){
	"None":     testNoAlertRules,
	"Versions": testAlertRulesVersions,
	"AtOnce":   testAlertRulesAtOnce,
	"Texts":    testAlertRulesTexts,
}

func testNoAlertRules(t *testing.T, s Store) {
	putPolicy(t, s, document(vm(1), 22))
	_, err := s.AlertRules(t.Context())
	wantError(t, "alert rules", err, access.ErrNotFound)
}

func putRules(t *testing.T, s Store, text string, n, version int) access.AlertRules {
	t.Helper()
	sum := sha256.Sum256([]byte(text))
	want := access.AlertRules{Text: text, Version: version, Hash: hex.EncodeToString(sum[:]), Signature: signature(n)}
	got, err := s.PutAlertRules(t.Context(), text, signature(n))
	must(t, err)
	equal(t, "result", want, got)
	got, err = s.AlertRules(t.Context())
	must(t, err)
	equal(t, "alert rules", want, got)
	return want
}

func testAlertRulesVersions(t *testing.T, s Store) {
	first := putRules(t, s, "rules: one", 0, 1)
	same, err := s.PutAlertRules(t.Context(), first.Text, signature(5))
	must(t, err)
	equal(t, "the same again", first, same)
	putRules(t, s, "rules: two", 1, 2)
	putRules(t, s, "rules: one", 2, 3)

	list, err := s.ListPolicies(t.Context()) // they are no policy
	must(t, err)
	equal(t, "number of policies", 0, len(list))
}

func testAlertRulesAtOnce(t *testing.T, s Store) {
	const workers = 6
	versions := make(chan int, workers)
	together(t, workers, func(w int) error {
		r, err := s.PutAlertRules(t.Context(), fmt.Sprint("rules ", w), signature(w))
		if err == nil && (r.Text != fmt.Sprint("rules ", w) || r.At != signature(w).At) {
			err = fmt.Errorf("worker %d got %+v", w, r)
		}
		versions <- r.Version
		return err
	})
	seen := map[int]bool{}
	for range workers {
		seen[<-versions] = true
	}
	equal(t, "versions given", workers, len(seen))
	got, err := s.AlertRules(t.Context())
	must(t, err)
	equal(t, "version in force", workers, got.Version)
}

// Texts come back byte for byte, whatever they mean.
func testAlertRulesTexts(t *testing.T, s Store) {
	for i, text := range []string{strings.Repeat("ünïcödé 𝄞\r\n", 5000), "\x00\u2028\ufffd", "", " "} {
		putRules(t, s, text, i, i+1)
	}
	if _, err := s.PutAlertRules(t.Context(), "\xff", signature(0)); err == nil || errors.Is(err, access.ErrUnavailable) {
		t.Errorf("error %v for what would come back different, want one that is final", err)
	}
	got, err := s.AlertRules(t.Context())
	must(t, err)
	equal(t, "version in force", 4, got.Version)
}
