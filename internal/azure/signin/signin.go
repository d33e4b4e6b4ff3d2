// Package signin gets access tokens for people who are signed in to Azure on the
// machine they work on. It owns the token of one command's run and forgets it with
// the process: nothing is written, nothing is logged. Services do not come here;
// they have identities of their own.
package signin

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/jonboulle/clockwork"
)

// early is how long before its end a token is replaced, so that none ends on its
// way to the server.
const early = 5 * time.Minute

// AzureCLI gets tokens from the Azure CLI. It is safe for use by several
// goroutines.
type AzureCLI struct {
	scope string
	az    *azidentity.AzureCLICredential
	clock clockwork.Clock

	mu    sync.Mutex
	token azcore.AccessToken
}

// NewAzureCLI makes one for the app registration with the given client id.
func NewAzureCLI(audience string, clock clockwork.Clock) (*AzureCLI, error) {
	az, err := azidentity.NewAzureCLICredential(nil)
	if err != nil {
		return nil, fmt.Errorf("prepare the sign-in with azure-cli: %w", err)
	}
	return &AzureCLI{scope: "api://" + audience + "/.default", az: az, clock: clock}, nil
}

// Token returns a token that holds for a while yet. The credential keeps none by
// itself and starts az for every call (azidentity v1.15 azure_cli_credential.go),
// which takes a second or so: too much for a command that polls.
func (a *AzureCLI) Token(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token.Token != "" && a.clock.Now().Add(early).Before(a.token.ExpiresOn) {
		return a.token.Token, nil
	}
	token, err := a.az.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{a.scope}})
	if err != nil {
		return "", fmt.Errorf("azure-cli gave no token for %s: %w", a.scope, err)
	}
	a.token = token
	return token.Token, nil
}

// Scope is what tokens are asked for.
func (a *AzureCLI) Scope() string { return a.scope }
