package tables

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	local "jitgate/internal/local/tables"
)

type credential struct{ scopes []string }

func (c *credential) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.scopes = o.Scopes
	return azcore.AccessToken{Token: "sesame", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func TestConfig(t *testing.T) {
	const key = "c2VjcmV0LWtleQ=="
	account := "AccountName=acc;AccountKey=" + key
	token := &credential{}
	for name, c := range map[string]struct {
		config Config
		fault  string // part of the text; empty = accepted
	}{
		"nothing":                   {Config{}, "neither"},
		"both":                      {Config{ConnectionString: account, ServiceURL: "https://acc.table.core.windows.net", Credential: token}, "set one of them"},
		"connection string":         {Config{ConnectionString: account}, ""},
		"trailing semicolon":        {Config{ConnectionString: account + ";"}, ""},
		"endpoint on this machine":  {Config{ConnectionString: account + ";TableEndpoint=http://127.0.0.1:10002/acc"}, ""},
		"endpoint on localhost":     {Config{ConnectionString: account + ";TableEndpoint=http://localhost:10002/acc"}, ""},
		"endpoint on IPv6 loopback": {Config{ConnectionString: account + ";TableEndpoint=http://[::1]:10002"}, ""},
		"endpoint elsewhere":        {Config{ConnectionString: account + ";TableEndpoint=http://10.0.0.4:10002/acc"}, "not https"},
		"endpoint like loopback":    {Config{ConnectionString: account + ";TableEndpoint=http://127.0.0.1.example.com/"}, "not https"},
		"endpoint is no URL":        {Config{ConnectionString: account + ";TableEndpoint=::"}, "plain URL"},
		"http by protocol":          {Config{ConnectionString: account + ";DefaultEndpointsProtocol=http"}, "https"},
		"short form":                {Config{ConnectionString: "UseDevelopmentStorage=true"}, "write out"},
		"not a list":                {Config{ConnectionString: "secret-key"}, "name=value"},
		"no account":                {Config{ConnectionString: "AccountKey=" + key}, "AccountName"},
		"key not base64":            {Config{ConnectionString: "AccountName=acc;AccountKey=secret-key!"}, "base64"},
		"service URL":               {Config{ServiceURL: "https://acc.table.core.windows.net", Credential: token}, ""},
		"service URL, no token":     {Config{ServiceURL: "https://acc.table.core.windows.net"}, "credential"},
		"service URL over http":     {Config{ServiceURL: "http://acc.table.core.windows.net", Credential: token}, "not https"},
		"service URL with a query":  {Config{ServiceURL: "https://acc.table.core.windows.net?sig=" + key, Credential: token}, "plain URL"},
		"service URL with a user":   {Config{ServiceURL: "https://me:" + key + "@acc.table.core.windows.net", Credential: token}, "plain URL"},
		"prefix":                    {Config{ConnectionString: account, Prefix: "Prod2"}, ""},
		"prefix with a dash":        {Config{ConnectionString: account, Prefix: "prod-"}, "prefix"},
		"prefix with a digit first": {Config{ConnectionString: account, Prefix: "2prod"}, "prefix"},
		"prefix too long":           {Config{ConnectionString: account, Prefix: strings.Repeat("p", 41)}, "prefix"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(c.config)
			if c.fault == "" {
				if err != nil || s.requests.name != c.config.Prefix+"requests" {
					t.Fatalf("error %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Fatalf("error %v, want one about %q", err, c.fault)
			}
			if strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "secret") {
				t.Fatalf("the error shows the key: %v", err)
			}
		})
	}
}

// With an identity instead of a key, and over http as only this machine may.
func TestTokens(t *testing.T) {
	server := local.New(local.Options{Authorize: func(bearer string) error {
		if bearer != "sesame" {
			return errors.New("wrong word")
		}
		return nil
	}})
	h := httptest.NewServer(server)
	t.Cleanup(h.Close)
	token := &credential{}
	s, err := New(Config{ServiceURL: h.URL, Credential: token, Transport: h.Client()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EnsureTables(t.Context()); err != nil {
		t.Fatal(err)
	}
	insertSample(t, s)
	putSamples(t, s)
	if len(token.scopes) != 1 || token.scopes[0] != "https://storage.azure.com/.default" {
		t.Errorf("scopes %q", token.scopes)
	}
}
