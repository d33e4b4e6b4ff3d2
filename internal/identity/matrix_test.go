package identity

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"pgregory.net/rapid"
)

// TestTamperedClaims signs tokens of any mixture of good and bad claims, of both
// versions and tenants, with the right key: one bad claim is enough to be refused, and
// good ones are enough to be let in.
func TestTamperedClaims(t *testing.T) {
	f := newFixture(t)
	now := f.clock.Now()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	rapid.Check(t, func(t *rapid.T) {
		pick := func(name string, choices ...any) any { return rapid.SampledFrom(choices).Draw(t, name) }
		mine := rapid.SampledFrom([]string{tenant, second}).Draw(t, "tenant")
		other := map[string]string{tenant: second, second: tenant}[mine]
		claims := f.claims(map[string]any{"iss": f.issuer.v2(mine), "tid": mine})
		application, otherApplication := "azp", "appid"
		good := map[string][]any{
			"aud": {audience, appURI, []string{audience}},
			"nbf": {nil, at(0), at(-time.Hour), at(Skew)},
			"exp": {at(time.Second), at(-Skew + time.Second), at(time.Hour)},
		}
		bad := map[string][]any{
			"iss": {nil, "", f.issuer.v2(other), f.issuer.v2(foreign), f.issuer.v2(mine) + "/", f.issuer.URL, v1(other), v1(foreign)},
			"tid": {nil, "", other, foreign, strings.ToUpper(mine), mine + " ", 7},
			"aud": {nil, "", "other", audience + " ", strings.ToUpper(audience), appURI + "/", []string{}, []string{audience, "other"}, 7},
			"ver": {nil, "", "3.0", 2, 1},
			"oid": {nil, "", "dana", "urn:uuid:" + object, strings.ReplaceAll(object, "-", ""), 7},
			"nbf": {at(Skew + time.Second), at(time.Hour), "now", []int{}},
			"exp": {nil, at(-Skew), at(-time.Hour), 0, -1, "never"},
		}
		if rapid.Bool().Draw(t, "version 1") {
			claims = f.claims1(map[string]any{"iss": v1(mine), "tid": mine})
			application, otherApplication = "appid", "azp"
			bad["iss"] = append(bad["iss"], f.issuer.v2(mine))
			bad["ver"] = append(bad["ver"], "2.0")
		} else {
			bad["iss"] = append(bad["iss"], v1(mine))
			bad["ver"] = append(bad["ver"], "1.0")
		}
		bad[application] = []any{nil, "", 7}
		claims[otherApplication] = pick("other application", nil, ActionGroupApp)
		if claims[otherApplication] == nil {
			delete(claims, otherApplication)
		}

		wrong := rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(bad))), 0, 2, rapid.ID).Draw(t, "wrong")
		for name, choices := range good {
			changed(claims, map[string]any{name: pick(name, choices...)})
		}
		for _, name := range wrong {
			changed(claims, map[string]any{name: pick("bad "+name, bad[name]...)})
		}
		// Issuer and tenant may be wrong together and agree: another tenant's token.
		agree := slices.Contains(wrong, "iss") && (claims["tid"] == other && (claims["iss"] == f.issuer.v2(other) || claims["iss"] == v1(other)))
		versionFits := (claims["ver"] == version1) == (claims["iss"] == v1(other))
		if len(wrong) == 2 && agree && versionFits {
			mine, wrong = other, nil
		}

		token := "Bearer " + sign(t, jose.RS256, firstKey, "first", claims, nil)
		got, err := f.Verify(t.Context(), map[string][]string{"Authorization": {token}})
		if len(wrong) == 0 {
			if err != nil || got.Tenant != mine || got.Object != object || got.App != client || got.Application {
				t.Fatalf("%+v, %v", got, err)
			}
			return
		}
		var refused *Error
		if !errors.As(err, &refused) {
			t.Fatalf("%v wrong: %+v, %v", wrong, got, err)
		}
	})
}
