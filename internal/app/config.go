package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"jitgate/functions/notify"
	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/azure/arm"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// Config is everything the handler is told from outside, as app settings. The tags
// name the settings; local.settings.json.example shows and explains them all, and a
// test holds that file against this struct.
type Config struct {
	Port int `env:"FUNCTIONS_CUSTOMHANDLER_PORT"` // given by the Functions host

	TenantIDs []string `env:"JITGATE_TENANT_ID"`
	Audiences []string `env:"JITGATE_AUDIENCE"`
	Issuer    string   `env:"JITGATE_ISSUER"`
	EasyAuth  bool     `env:"JITGATE_EASY_AUTH"`
	// PlatformAuth is App Service's own word, "True" or "False". A text, because what
	// the platform writes must not keep an installation from starting that does not
	// need it.
	PlatformAuth string `env:"WEBSITE_AUTH_ENABLED"`

	AlertKey  string `env:"JITGATE_ALERT_KEY"`
	RBACRoles Rights `env:"JITGATE_RBAC_ROLES"`

	Subscriptions []string `env:"JITGATE_SUBSCRIPTIONS"`
	ARMEndpoint   string   `env:"JITGATE_ARM_ENDPOINT" envDefault:"https://management.azure.com"`
	ARMAudience   string   `env:"JITGATE_ARM_AUDIENCE" envDefault:"https://management.azure.com"`

	ServiceBus          string `env:"JITGATE_SERVICEBUS"`
	ServiceBusNamespace string `env:"JITGATE_SERVICEBUS__fullyQualifiedNamespace"`
	Tables              string `env:"JITGATE_TABLES"`
	TablesURL           string `env:"JITGATE_TABLES__serviceUri"`

	Shortest   Duration   `env:"JITGATE_SHORTEST_DURATION" envDefault:"PT5M"`
	Longest    Duration   `env:"JITGATE_LONGEST_DURATION" envDefault:"PT24H"`
	Priorities Band       `env:"JITGATE_RULE_PRIORITIES" envDefault:"100-999"`
	LogLevel   slog.Level `env:"JITGATE_LOG_LEVEL" envDefault:"INFO"`

	SecondAdmin bool `env:"JITGATE_POLICY_SECOND_ADMIN"`

	Channels         Channels `env:"JITGATE_CHANNELS"`
	NotifyLoopback   bool     `env:"JITGATE_NOTIFY_LOOPBACK"`
	CallbackKeys     []string `env:"JITGATE_CALLBACK_KEYS"`
	CallbackHosts    []string `env:"JITGATE_CALLBACK_HOSTS"`
	WorkflowAudience string   `env:"JITGATE_WORKFLOW_AUDIENCE"`
	RequestLink      string   `env:"JITGATE_REQUEST_LINK"`

	SuspectDenials   int      `env:"JITGATE_SUSPECT_DENIALS" envDefault:"5"`
	SuspectApprovals int      `env:"JITGATE_SUSPECT_APPROVALS" envDefault:"5"`
	SuspectWithin    Duration `env:"JITGATE_SUSPECT_WITHIN" envDefault:"PT1H"`
	SuspectNewSource Duration `env:"JITGATE_SUSPECT_NEW_SOURCE" envDefault:"P90D"`
	OfficeHours      Hours    `env:"JITGATE_OFFICE_HOURS"`

	// Set by programs and tests that hold the app in their own process, not by settings.
	Now func() time.Time `env:"-"` // nil = the real clock
}

// Duration is an ISO 8601 duration in a setting.
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := policy.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// Channels are where notices go, see notify.ParseChannels.
type Channels []notify.Channel

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Channels) UnmarshalText(text []byte) (err error) {
	*c, err = notify.ParseChannels(string(text))
	return err
}

// Rights say which app roles an Azure role stands for, see arm.ParseRights; empty when
// app roles decide themselves.
type Rights map[string][]string

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rights) UnmarshalText(text []byte) (err error) {
	if len(text) > 0 {
		*r, err = arm.ParseRights(string(text))
	}
	return err
}

// Hours are windows of time as policies write them, see policy.ParseWindows.
type Hours []policy.Window

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hours) UnmarshalText(text []byte) (err error) {
	if len(text) > 0 {
		*h, err = policy.ParseWindows(text)
	}
	return err
}

// Band is a range of priorities in a setting, "100-999".
type Band nsg.Band

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Band) UnmarshalText(text []byte) error {
	first, last, found := strings.Cut(string(text), "-")
	from, err1 := strconv.Atoi(first)
	to, err2 := strconv.Atoi(last)
	if !found || err1 != nil || err2 != nil {
		return fmt.Errorf("%q is not a range such as 100-999", text)
	}
	*b = Band{First: from, Last: to}
	return nil
}

// firstDeny is where deny rules go unless the allow rules reach that far: Defender
// for Cloud's just-in-time access puts its own there too, so it is where people look.
const firstDeny = 1000

// bands puts the deny rules behind the allow rules: in front of them no grant would
// open anything.
func (b Band) bands() nsg.Bands {
	return nsg.Bands{Allow: nsg.Band(b), Deny: nsg.Band{First: max(firstDeny, b.Last+1), Last: nsg.MaxPriority}}
}

// Load reads settings, from the environment of a process or any other source of
// names and values, and reports all faults at once.
func Load(settings map[string]string) (Config, error) {
	var c Config
	err := env.ParseWithOptions(&c, env.Options{Environment: settings})
	return c, errors.Join(err, c.check())
}

// check holds what a single setting cannot tell.
func (c *Config) check() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Port < 1 || c.Port > 65535, "FUNCTIONS_CUSTOMHANDLER_PORT: the Functions host sets it; to run locally use 'make run'")
	fault(len(c.TenantIDs) == 0, "JITGATE_TENANT_ID: the Entra tenants whose tokens are accepted are needed, separated by commas")
	fault(len(c.Audiences) == 0, "JITGATE_AUDIENCE: the client id of jitgate's app registration is needed")
	fault(len(c.Subscriptions) == 0, "JITGATE_SUBSCRIPTIONS: the ids of the subscriptions to look after are needed, separated by commas")
	for _, s := range c.Subscriptions {
		_, err := armid.Parse("/subscriptions/" + s)
		fault(err != nil, "JITGATE_SUBSCRIPTIONS: %q is not a subscription id", s)
	}
	fault((c.ServiceBus == "") == (c.ServiceBusNamespace == ""), "set one of JITGATE_SERVICEBUS (connection string) and JITGATE_SERVICEBUS__fullyQualifiedNamespace")
	fault((c.Tables == "") == (c.TablesURL == ""), "set one of JITGATE_TABLES (connection string) and JITGATE_TABLES__serviceUri")
	for name, text := range map[string]string{"JITGATE_ARM_ENDPOINT": c.ARMEndpoint, "JITGATE_ARM_AUDIENCE": c.ARMAudience} {
		u, err := url.Parse(text)
		fault(err != nil || u.Host == "", "%s: %q is not a URL", name, text)
	}
	shortest, longest := time.Duration(c.Shortest), time.Duration(c.Longest)
	fault(shortest < time.Second || shortest > longest || longest > 24*time.Hour,
		"JITGATE_SHORTEST_DURATION and JITGATE_LONGEST_DURATION: need 1 second ≤ shortest ≤ longest ≤ 24 hours")
	// 4096 is Azure's last priority; the deny rules need a number behind the band.
	fault(c.Priorities.First < 100 || c.Priorities.Last < c.Priorities.First || c.Priorities.Last > 4095,
		"JITGATE_RULE_PRIORITIES: need 100 ≤ first ≤ last ≤ 4095, and the deny rules must come after it")
	fault(c.AlertKey != "" && len(c.AlertKey) < minAlertKey, "JITGATE_ALERT_KEY: it has less than %d characters and could be guessed; make one with 'openssl rand -base64 32'", minAlertKey)
	fault(c.SuspectDenials < 0 || c.SuspectApprovals < 0 || c.SuspectWithin < 0 || c.SuspectNewSource < 0,
		"JITGATE_SUSPECT_DENIALS, JITGATE_SUSPECT_APPROVALS, JITGATE_SUSPECT_WITHIN, JITGATE_SUSPECT_NEW_SOURCE: must not be negative; 0 switches a warning off")
	fault(c.SuspectDenials > access.MaxRemembered || c.SuspectApprovals > access.MaxRemembered,
		"JITGATE_SUSPECT_DENIALS, JITGATE_SUSPECT_APPROVALS: need at most %d; no more is remembered of a person, so a warning would never come", access.MaxRemembered)
	fault(c.RequestLink != "" && (!strings.HasPrefix(c.RequestLink, "https://") || !strings.Contains(c.RequestLink, "{id}")),
		"JITGATE_REQUEST_LINK: need an https URL with {id} in the place of the request's id")
	return errors.Join(faults...)
}

// minAlertKey is the least length of the alert key in characters.
const minAlertKey = 32

func (c *Config) suspicion() access.Suspicion {
	return access.Suspicion{Denials: c.SuspectDenials, Approvals: c.SuspectApprovals, Within: time.Duration(c.SuspectWithin),
		NewSource: time.Duration(c.SuspectNewSource), Hours: c.OfficeHours}
}

func (c *Config) limits() access.Limits {
	return access.Limits{Shortest: time.Duration(c.Shortest), Longest: time.Duration(c.Longest)}
}
