// Package azure is the roof over the adapters: the folders below it are the only
// ones that import Azure's SDKs. It owns how jitgate signs in to Azure and how it
// keeps its connections, and nothing else.
package azure

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// Credential is the platform's managed identity, or a developer's own sign-in where
// there is none; AZURE_CLIENT_ID and AZURE_TOKEN_CREDENTIALS choose, as azidentity
// documents. It asks for no token before the first call.
func Credential() (azcore.TokenCredential, error) {
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, fmt.Errorf("azure credential: %w", err)
	}
	return credential, nil
}

// TokenSource gives tokens for an audience, such as "api://…", to who must not know
// Azure's SDKs.
func TokenSource(credential azcore.TokenCredential, audience string) func(context.Context) (string, error) {
	scope := strings.TrimSuffix(audience, "/") + "/.default"
	return func(ctx context.Context) (string, error) {
		token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
		return token.Token, err
	}
}

// idleConnections is how many connections to one host are kept for the next call.
// The SDK's own transport keeps ten (azcore, defaultTransport); a burst of requests
// has more calls than that under way at a time, and each of the others would pay for
// a new TLS handshake.
const idleConnections = 100

// Transport carries the calls of all adapters that speak HTTP.
func Transport() policy.Transporter {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 2*idleConnections, idleConnections
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: t}
}
