// Package azure is the roof over the adapters: the folders below it are the only
// ones that import Azure's SDKs. It owns how jitgate signs in to Azure and nothing
// else.
package azure

import (
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
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
