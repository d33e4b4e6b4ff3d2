package arm_test

import (
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	azarm "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"jitgate/internal/local/arm"
	"jitgate/internal/local/entra"
)

// One directory for the whole process, like the managed-identity tokens: azidentity
// keeps those in a cache that outlives a test, and they must fit its key.
var directory = sync.OnceValue(func() *entra.Server {
	return must(entra.New(entra.Options{TenantID: "11111111-2222-4333-8444-555555555555", Audience: "99999999-8888-4777-8666-555555555555"}))
})

// The two stand-ins together: a managed identity's token opens ARM, a person's
// token for another audience does not.
func TestWithTokensOfTheEntraStandIn(t *testing.T) {
	const audience = "https://management.azure.com"
	directory := directory()
	login := httptest.NewServer(directory)
	defer login.Close()
	e := start(t, arm.Options{Authorize: func(bearer string) error { return directory.Verify(bearer, audience) }})
	for _, pair := range directory.Environment(login.URL) {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	credential, err := azidentity.NewManagedIdentityCredential(nil)
	if err != nil {
		t.Fatal(err)
	}
	client, err := armnetwork.NewSecurityGroupsClient(sub, credential, &azarm.ClientOptions{DisableRPRegistration: true,
		ClientOptions: policy.ClientOptions{InsecureAllowCredentialWithHTTP: true,
			Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: login.URL, Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
				cloud.ResourceManager: {Endpoint: e.url, Audience: audience}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(t.Context(), rg, "nsg-web01", nil); err != nil {
		t.Error(err)
	}
	token, err := directory.UserToken(login.URL, "carol")
	if err != nil {
		t.Fatal(err)
	}
	if resp, out := e.call(t, "GET", web+version, nil, "Authorization", "Bearer "+token); resp.StatusCode != 401 {
		t.Errorf("a token for jitgate opened ARM: %d %v", resp.StatusCode, out)
	}
}
