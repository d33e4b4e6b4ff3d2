// Package tables keeps requests, grants, protections, the ledger, alerts and policies
// in Azure Table Storage. It owns the layout of rows and the rules that make several processes
// safe on them: what belongs together is one entity-group transaction, every change
// of an existing row carries the ETag it was read with, and a write whose answer
// got lost is recognised instead of repeated.
//
//	table     partition    rows
//	requests  request id   request, event-000001…
//	machines  machines     protection-<VM key>, event-<VM key>-000001…
//	nsgs      NSG key      event-<time-ordered UUID>…
//	grants    NSG key      grant-<key>, guard-<VM key>, nsg (the head)
//	ledger    ledger       ledger, event-000000000001…
//	          people       <tenant>:<object>
//	          alerts       <key>, open-<key>, done-<received>-<key>
//	policies  scope key    current-<document key>, v-<document key>-000012, proposal-<document key>
//	          alert-rules  current, v-000012, proposal-alert-rules
//	lookups   requests     all|<newest first>|<id>, requester:<tenant>:<object>|…, vm:<key>|…, open|…
//
// It refuses to create tables by the way ([Store.EnsureTables] is a step of its
// own, so that a misspelt prefix is noticed) and to interpret what it stores.
package tables

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"jitgate/internal/access"
)

// Config says where the tables are. Exactly one of ConnectionString and
// ServiceURL is set.
type Config struct {
	ConnectionString string                 // account key or shared access signature; for laptops and tests
	ServiceURL       string                 // "https://<account>.table.core.windows.net"; needs Credential
	Credential       azcore.TokenCredential // needs the role Storage Table Data Contributor
	Prefix           string                 // put before the name of every table: letters and digits, a letter first
	Log              *slog.Logger           // nil = slog.Default
	Transport        policy.Transporter     // nil = the SDK's own
	Now              func() time.Time       // for [access.Head].ChangedAt; nil = time.Now
}

// Store implements [access.Store], [access.LedgerStore] and [access.Policies]. It is
// safe for concurrent use.
type Store struct {
	requests                        journal[access.Request]
	machines                        journal[access.Protection]
	ledger                          journal[access.Ledger]
	nsgs, grants, policies, lookups table

	now func() time.Time
	log *slog.Logger
}

var (
	_ access.Store       = (*Store)(nil)
	_ access.LedgerStore = (*Store)(nil)
	_ access.Policies    = (*Store)(nil)
)

// storageScope is the audience of Table Storage in every Azure cloud (aztables
// v1.4.1 service_client.go).
const storageScope = "https://storage.azure.com/.default"

// New checks the configuration and makes the clients. It connects to nothing.
func New(c Config) (*Store, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("table storage: %w", err)
	}
	service, err := c.client()
	if err != nil {
		return nil, fmt.Errorf("table storage: %w", err)
	}
	open := func(name string) table { return table{service.NewClient(c.Prefix + name), c.Prefix + name} }
	s := &Store{
		requests: requestsIn(open("requests")), machines: protectionsIn(open("machines")), ledger: ledgerIn(open("ledger")),
		nsgs: open("nsgs"), grants: open("grants"), policies: open("policies"), lookups: open("lookups"),
		now: c.Now, log: c.Log,
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	return s, nil
}

func (s *Store) tables() []table {
	return []table{s.requests.table, s.machines.table, s.ledger.table, s.nsgs, s.grants, s.policies, s.lookups}
}

// EnsureTables creates the tables that are missing. Running it again, or from
// several processes at once, is harmless.
func (s *Store) EnsureTables(ctx context.Context) error {
	for _, t := range s.tables() {
		if _, err := t.client.CreateTable(ctx, nil); err != nil {
			if err := explain(t.name, "create", err); !errors.Is(err, access.ErrExists) {
				return err
			}
		}
	}
	return nil
}

// prefixForm leaves room for our names within the 63 characters of a table name.
var prefixForm = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9]{0,39})?$`)

func (c Config) check() error {
	if !prefixForm.MatchString(c.Prefix) {
		return fmt.Errorf("prefix %q: use at most 40 letters and digits, starting with a letter", c.Prefix)
	}
	switch {
	case c.ConnectionString != "" && c.ServiceURL != "":
		return errors.New("a connection string and a service URL are set; set one of them")
	case c.ConnectionString != "":
		return checkConnection(c.ConnectionString)
	case c.ServiceURL == "":
		return errors.New("neither a connection string nor a service URL is set; set one of them")
	case c.Credential == nil:
		return errors.New("a service URL is set without a credential")
	}
	return checkEndpoint(c.ServiceURL)
}

// checkConnection never quotes the string: it holds the account's key.
func checkConnection(text string) error {
	fields := map[string]string{}
	for field := range strings.SplitSeq(strings.TrimRight(text, ";"), ";") {
		name, value, ok := strings.Cut(field, "=")
		if !ok {
			return errors.New("the connection string is not a list of name=value; copy it again")
		}
		fields[strings.TrimSpace(name)] = value
	}
	if _, short := fields["UseDevelopmentStorage"]; short {
		return errors.New("aztables does not know UseDevelopmentStorage=true; write out AccountName, AccountKey and TableEndpoint")
	}
	if endpoint, ok := fields["TableEndpoint"]; ok {
		return checkEndpoint(endpoint)
	}
	if strings.EqualFold(fields["DefaultEndpointsProtocol"], "http") {
		return errors.New("the connection string asks for http; set DefaultEndpointsProtocol=https")
	}
	return nil
}

// checkEndpoint keeps keys and tokens off the wire in clear text.
func checkEndpoint(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("the table endpoint is not a plain URL such as https://<account>.table.core.windows.net")
	}
	switch {
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("the table endpoint %s is not https; http is accepted on this machine only", text)
}

func loopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

func (c Config) client() (*aztables.ServiceClient, error) {
	options := &aztables.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: c.Transport,
		// The SDK's own pauses start at 0.8 s and reach a minute: longer than a caller
		// waits and than a message stays locked. Repeating writes is safe here, see wrote.
		Retry: policy.RetryOptions{RetryDelay: 200 * time.Millisecond, MaxRetryDelay: 5 * time.Second, TryTimeout: 15 * time.Second},
	}}
	if c.ConnectionString != "" {
		client, err := aztables.NewServiceClientFromConnectionString(c.ConnectionString, options)
		if err != nil {
			return nil, errors.New("the connection string lacks AccountName or AccountKey, or the key is not base64; copy it again")
		}
		return client, nil
	}
	// aztables' own constructor gives no way to send a token over http, which a
	// stand-in on this machine needs; check has made sure that it is one.
	bearer := runtime.NewBearerTokenPolicy(c.Credential, []string{storageScope}, &policy.BearerTokenOptions{
		InsecureAllowCredentialWithHTTP: strings.HasPrefix(c.ServiceURL, "http:"),
	})
	options.PerRetryPolicies = append(options.PerRetryPolicies, bearer)
	return aztables.NewServiceClientWithNoCredential(c.ServiceURL, options)
}
