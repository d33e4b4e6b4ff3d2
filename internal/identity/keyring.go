package identity

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"
)

const (
	// pause is the least time between two fetches, whatever came of the first.
	// Anybody can send tokens that name unknown keys; without it each of them
	// would make us call the identity provider, which throttles.
	pause = 5 * time.Second
	// refreshAfter and trustFor bound how long a key that the issuer has withdrawn
	// is still good here. Entra asks for a refresh every 24 hours (access tokens
	// page); starting halfway leaves half a day to get through an outage.
	refreshAfter = 12 * time.Hour
	trustFor     = 24 * time.Hour

	fetchTimeout = 10 * time.Second
	maxDocument  = 1 << 20 // bytes; Entra's key document has about 20 kB
	minKeyBits   = 2048
)

// keyring holds the issuer's signing keys. The key set of go-oidc would not do:
// its errors do not tell an unreachable issuer (503) from a wrong signature
// (401), it calls the issuer for every token that names an unknown key, and it
// never forgets a key that was withdrawn.
type keyring struct {
	issuer, tenant string
	document       string // address of the issuer's discovery document
	client         *http.Client
	now            func() time.Time

	flight singleflight.Group

	mu      sync.Mutex
	keys    map[string][]*rsa.PublicKey // by key id
	fetched time.Time                   // when keys were had
	tried   time.Time                   // when the last fetch ended
	failure error                       // what came of it
}

// find returns the keys of that id; none if the issuer has none. An error means
// that the issuer could not be asked.
func (k *keyring) find(ctx context.Context, kid string) ([]*rsa.PublicKey, error) {
	keys, due, err := k.look(kid)
	if !due {
		return keys, err
	}
	// The fetch belongs to everybody who waits for it, so it does not end with the
	// call that started it.
	done := k.flight.DoChan("", func() (any, error) { k.fetch(); return nil, nil })
	if len(keys) > 0 {
		return keys, nil // good as it is; the refresh may take its time
	}
	select {
	case <-done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	keys, _, err = k.look(kid)
	return keys, err
}

// look finds what is known already and says whether a fetch is due.
func (k *keyring) look(kid string) (keys []*rsa.PublicKey, due bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := k.now().Sub(k.fetched)
	if age < trustFor {
		keys = k.keys[kid]
	}
	if len(keys) == 0 {
		// With the last fetch failed, an unknown key may just be a new one.
		err = k.failure
	}
	return keys, (len(keys) == 0 || age >= refreshAfter) && k.rested(), err
}

// rested reports whether the last fetch is long enough ago. A clock that was set
// back must not stop fetches until it has caught up.
func (k *keyring) rested() bool {
	since := k.now().Sub(k.tried)
	return since >= pause || since < 0
}

func (k *keyring) fetch() {
	k.mu.Lock()
	rested := k.rested()
	k.mu.Unlock()
	if !rested {
		return // somebody's fetch ended between our look and now
	}
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	keys, err := k.download(ctx)

	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried, k.failure = k.now(), err
	if err == nil {
		k.keys, k.fetched = keys, k.tried
	}
}

// download follows OIDC discovery to the issuer's keys. Both documents are read
// each time, so a provider that moves its keys is followed.
func (k *keyring) download(ctx context.Context) (map[string][]*rsa.PublicKey, error) {
	var discovery struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := k.get(ctx, k.document, &discovery); err != nil {
		return nil, fmt.Errorf("fetch the issuer's discovery document: %w", err)
	}
	if discovery.Issuer != k.issuer {
		return nil, fmt.Errorf("the discovery document speaks of issuer %q instead of %q; configure the issuer exactly as it calls itself", discovery.Issuer, k.issuer)
	}
	if err := trustworthy(discovery.Keys); err != nil {
		return nil, fmt.Errorf("address of the issuer's keys: %w", err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := k.get(ctx, discovery.Keys, &set); err != nil {
		return nil, fmt.Errorf("fetch the issuer's keys: %w", err)
	}
	keys := map[string][]*rsa.PublicKey{}
	for _, text := range set.Keys {
		if id, key, ok := k.signingKey(text); ok {
			keys[id] = append(keys[id], key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the issuer publishes no RSA signing key")
	}
	return keys, nil
}

// signingKey reads one key of a set. Those that cannot sign a token for us are
// skipped, as RFC 7517 section 5 asks, because an issuer may add other kinds.
func (k *keyring) signingKey(text []byte) (id string, key *rsa.PublicKey, ok bool) {
	var entry jose.JSONWebKey
	if err := json.Unmarshal(text, &entry); err != nil || !k.owns(text) {
		return "", nil, false
	}
	key, isRSA := entry.Key.(*rsa.PublicKey)
	if !isRSA || key.N.BitLen() < minKeyBits || entry.KeyID == "" ||
		entry.Use != "" && entry.Use != "sig" || entry.Algorithm != "" && entry.Algorithm != string(jose.RS256) {
		return "", nil, false
	}
	return entry.KeyID, key, true
}

// owns reports whether a key is for tokens of this issuer. Entra's documents of
// version 2 say so for each key, with the tenant's id or room for it, and hold keys
// of other issuers too, such as personal accounts' (Entra "access tokens" page); the
// documents of version 1 do not say it (Microsoft.IdentityModel.Validators).
func (k *keyring) owns(text []byte) bool {
	var entry struct {
		Issuer *string `json:"issuer"`
	}
	if err := json.Unmarshal(text, &entry); err != nil {
		return false
	}
	return entry.Issuer == nil || strings.ReplaceAll(*entry.Issuer, tenantPlace, k.tenant) == k.issuer
}

func (k *keyring) get(ctx context.Context, address string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	response, err := k.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxDocument)).Decode(into); err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	return nil
}
