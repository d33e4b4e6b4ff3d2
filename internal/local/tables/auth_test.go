package tables_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"jitgate/internal/local/tables"
)

func TestWrongKeyAndAccount(t *testing.T) {
	_, web, _ := start(t, tables.Options{})
	for _, other := range []tables.Options{{Key: []byte("another key")}, {Account: "another"}} {
		service, err := aztables.NewServiceClientFromConnectionString(tables.New(other).ConnectionString(web.URL), noRetries())
		if err != nil {
			t.Fatal(err)
		}
		_, err = service.CreateTable(t.Context(), "grants", nil)
		wantCode(t, err, 403, "AuthenticationFailed")
	}
}

// Emulators put the account into the path; the client signs it twice then, and that is what must be checked.
func TestAccountInThePath(t *testing.T) {
	s, web, service := start(t, tables.Options{})
	path, err := aztables.NewServiceClientFromConnectionString(s.ConnectionString(web.URL+"/"+tables.DefaultAccount+"/"), noRetries())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := path.CreateTable(t.Context(), "grants", nil); err != nil {
		t.Fatal(err)
	}
	add(t, path.NewClient("grants"), "O'Brien", "a b", props{"A": 1})
	if got, _ := get(t, service.NewClient("grants"), "O'Brien", "a b"); got["A"] != 1.0 {
		t.Fatalf("got %v", got)
	}
	if _, err := path.NewClient("grants").SubmitTransaction(t.Context(), []aztables.TransactionAction{
		{ActionType: aztables.TransactionTypeAdd, Entity: row("p", "r", nil)},
	}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestSignatures(t *testing.T) {
	key := []byte("secret")
	_, web, _ := start(t, tables.Options{Key: key})
	now := time.Now().UTC().Format(http.TimeFormat)
	old := time.Now().Add(-16 * time.Minute).UTC().Format(http.TimeFormat)
	sign := func(text string) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return tables.DefaultAccount + ":" + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	full := "GET\n\napplication/json\n" + now + "\n/devjitgate/Tables"
	for name, tc := range map[string]struct {
		authorization, date string
		status              int
		code                string
	}{
		"shared key":         {"SharedKey " + sign(full), now, 200, ""},
		"shared key lite":    {"SharedKeyLite " + sign(now+"\n/devjitgate/Tables"), now, 200, ""},
		"schemes exchanged":  {"SharedKeyLite " + sign(full), now, 403, "AuthenticationFailed"},
		"another path":       {"SharedKeyLite " + sign(now+"\n/devjitgate/grants"), now, 403, "AuthenticationFailed"},
		"another date":       {"SharedKeyLite " + sign(old+"\n/devjitgate/Tables"), now, 403, "AuthenticationFailed"},
		"old":                {"SharedKeyLite " + sign(old+"\n/devjitgate/Tables"), old, 403, "AuthenticationFailed"},
		"no date":            {"SharedKeyLite " + sign("\n/devjitgate/Tables"), "-", 403, "AuthenticationFailed"},
		"no signature":       {"SharedKeyLite devjitgate", now, 403, "AuthenticationFailed"},
		"unknown scheme":     {"Basic eDp5", now, 403, "AuthenticationFailed"},
		"none":               {"-", now, 401, "NoAuthenticationInformation"},
		"bearer not allowed": {"Bearer token", now, 401, "InvalidAuthenticationInfo"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := send(t, "GET", web.URL+"/Tables", "", "Authorization: "+tc.authorization, "x-ms-date: "+tc.date)
			if resp.StatusCode != tc.status || resp.Header.Get("x-ms-error-code") != tc.code {
				t.Fatalf("%d %s", resp.StatusCode, body)
			}
		})
	}
}

type staticToken string

func (s staticToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(s), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// The client sends bearer tokens over TLS only.
func TestBearer(t *testing.T) {
	web := httptest.NewTLSServer(tables.New(tables.Options{Authorize: func(token string) error {
		if token != "good" {
			return errors.New("unknown token")
		}
		return nil
	}}))
	t.Cleanup(web.Close)
	o := noRetries()
	o.Transport = web.Client()
	for token, code := range map[staticToken]string{"good": "", "bad": "InvalidAuthenticationInfo"} {
		service, err := aztables.NewServiceClient(web.URL, token, o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = service.CreateTable(t.Context(), "grants", nil)
		if code == "" && err != nil {
			t.Fatal(err)
		}
		if code != "" {
			wantCode(t, err, 401, code)
		}
	}
}

// Settings files hold the connection string, so it must not change from one start to the next.
func TestDefaultKeyIsStable(t *testing.T) {
	a, b := tables.New(tables.Options{}), tables.New(tables.Options{})
	if a.ConnectionString("http://127.0.0.1:1") != b.ConnectionString("http://127.0.0.1:1/") {
		t.Fatal("two default servers do not share a connection string")
	}
}
