package arm

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

func TestEndpoints(t *testing.T) {
	for endpoint, good := range map[string]bool{
		"": true, "https://management.azure.com": true, "https://management.chinacloudapi.cn/": true,
		"http://127.0.0.1:8081": true, "http://localhost:8081": true, "http://[::1]:8081": true,
		"http://management.azure.com": false, "http://10.0.0.4:8081": false, "http://localhost.example.com": false,
		"ftp://127.0.0.1": false, "management.azure.com": false, "https://": false, "https://a?b=c": false, "https://a#b": false, "://": false,
	} {
		_, err := New(Config{Endpoint: endpoint, Credential: &fake.TokenCredential{}})
		if (err == nil) != good {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a credential is needed")
	}
}

// scopes notes what tokens were asked for.
type scopes struct {
	mu  sync.Mutex
	got []string
}

func (s *scopes) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, o.Scopes...)
	return (&fake.TokenCredential{}).GetToken(context.Background(), o)
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) Do(r *http.Request) (*http.Response, error) { return t(r) }

func TestAudience(t *testing.T) {
	for name, test := range map[string]struct {
		config      Config
		scope, host string
	}{
		"Azure":                  {Config{}, "https://management.core.windows.net//.default", "management.azure.com"},
		"another cloud":          {Config{Endpoint: "https://management.example.cn/"}, "https://management.example.cn/.default", "management.example.cn"},
		"an audience of its own": {Config{Endpoint: "https://arm.example", Audience: "https://management.example/"}, "https://management.example//.default", "arm.example"},
	} {
		t.Run(name, func(t *testing.T) {
			asked, hosts := &scopes{}, []string(nil)
			test.config.Credential = asked
			test.config.Transport = transport(func(r *http.Request) (*http.Response, error) {
				hosts = append(hosts, r.URL.Scheme+"://"+r.URL.Host)
				w := httptest.NewRecorder()
				w.WriteHeader(http.StatusForbidden)
				out := w.Result()
				out.Request = r
				return out, nil
			})
			n, err := New(test.config)
			if err != nil {
				t.Fatal(err)
			}
			_ = n.Machines(t.Context(), "00000000-0000-0000-0000-000000000001", func(armid.ID) error { return nil })
			if diff := cmp.Diff([]string{test.scope}, asked.got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"https://" + test.host}, hosts); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestClientsAreMadeOnce(t *testing.T) {
	n, err := New(Config{Credential: &fake.TokenCredential{}})
	if err != nil {
		t.Fatal(err)
	}
	first, err := n.in("00000000-0000-0000-0000-00000000000a")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for _, same := range []string{"00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000A"} {
		group.Go(func() {
			if again, err := n.in(same); err != nil || again != first {
				t.Errorf("%s: other clients, %v", same, err)
			}
		})
	}
	group.Wait()
	if other, err := n.in("00000000-0000-0000-0000-00000000000b"); err != nil || other == first {
		t.Errorf("another subscription, %v", err)
	}
}

func TestRewriteOfSparseGroups(t *testing.T) {
	plan := nsg.Plan{Put: []nsg.Rule{{Name: "a", Priority: 100}}}
	for body, good := range map[string]bool{
		`{"location":"l","properties":{}}`:                     true,
		`{"location":"l","properties":{"securityRules":null}}`: true,
		`{"location":"l","properties":{"securityRules":[]}}`:   true,
		`{"location":"l"}`: false,
		`{"location":"l","properties":{"securityRules":["x"]}}`: false,
		`<html>`: false,
	} {
		d, err := parse([]byte(body))
		if err == nil {
			_, err = d.rewrite(plan)
		}
		if (err == nil) != good {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// TestTextStaysAsItCame: Go's encoder would rather write "<" as an escape, and
// numbers in its own way. A rule is replaced where it stands, a new one comes last.
func TestTextStaysAsItCame(t *testing.T) {
	const other = `{"name":"other","properties":{"b":"<&>","a":[1.50,1e3]},"more":{"z":1,"y":2}}`
	d, err := parse([]byte(`{"location":"l","properties":{"securityRules":[` + other + `,{"name":"bare"},{"name":"second"},null],"flushConnection":false}}`))
	if err != nil {
		t.Fatal(err)
	}
	texts, err := d.verbatim()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]byte{"other": []byte(`{"a":[1.50,1e3],"b":"<&>"}`)}, texts); diff != "" {
		t.Error(diff)
	}
	on := true
	got, err := d.rewrite(nsg.Plan{Delete: []string{"bare"}, Flush: &on, Put: []nsg.Rule{
		{Name: "second", Priority: 7, Verbatim: []byte(`{"priority":7.0,"b":"<"}`)}, {Name: "first", Priority: 8, Verbatim: []byte(`{"x":1}`)}}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"location":"l","properties":{"flushConnection":true,"securityRules":[` + other +
		`,{"name":"second","properties":{"b":"<","priority":7}},null,{"name":"first","properties":{"priority":8,"x":1}}]}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}
